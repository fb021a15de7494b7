"""A JobWorker's JSON as values, with every default filled in also where the schema has it already.

The API server has checked types and bounds. Whatever it let through and cannot work is told in a sentence that names
the field: `parse_jobworker` never raises for what a user wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args

from jobworker_operator.model.names import WORKER_CONTAINER
from jobworker_operator.model.spec import (
    Amount,
    DrainSpec,
    InvalidSpec,
    JobWorker,
    JobWorkerSpec,
    Key,
    Order,
    QueueSpec,
    RedisSpec,
    RolloutSpec,
    ScalingMode,
    ScalingSpec,
    SecretKey,
    WaitFor,
    WorkerSpec,
)

_LABEL_LENGTH = 63
_QUEUE_NAME = re.compile(r"[^\s,]+")
_PERCENT = re.compile(r"\d+%")

C = TypeVar("C", bound=str)


def parse_jobworker(obj: Mapping[str, Any]) -> JobWorker:
    """The object as the API server holds it; with ``spec`` None and ``problem`` a sentence where it cannot work."""
    metadata = _mapping(obj, "metadata")
    key = Key(str(metadata.get("namespace", "")), str(metadata.get("name", "")))
    spec, problem = None, ""
    try:
        spec = _spec(key, _mapping(obj, "spec"))
    except InvalidSpec as invalid:
        problem = str(invalid)
    return JobWorker(
        key=key,
        uid=str(metadata.get("uid", "")),
        generation=int(metadata.get("generation") or 0),
        resource_version=str(metadata.get("resourceVersion", "")),
        spec=spec,
        problem=problem,
        deleting=metadata.get("deletionTimestamp") is not None,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=dict(metadata.get("annotations") or {}),
        status=dict(obj.get("status") or {}),
    )


def worker_container_index(containers: list[Mapping[str, Any]]) -> int:
    """Which container is the worker: the one named ``worker``, else the first."""
    names = [container.get("name") for container in containers]
    return names.index(WORKER_CONTAINER) if WORKER_CONTAINER in names else 0


def _spec(key: Key, spec: Mapping[str, Any]) -> JobWorkerSpec:
    if len(key.name) > _LABEL_LENGTH:
        raise InvalidSpec(
            f"metadata.name has {len(key.name)} characters and is used as a label, which holds {_LABEL_LENGTH}; "
            "make a JobWorker with a shorter name"
        )
    worker = _worker(_mapping(spec, "worker", "spec."))
    return JobWorkerSpec(
        replicas=_integer(spec, "replicas", 1, "spec."),
        worker=worker,
        redis=_redis(_mapping(spec, "redis", "spec.")),
        template=_template(_mapping(spec, "template", "spec.")),
        rollout=_rollout(_mapping(spec, "rollout", "spec.")),
        drain=_drain(_mapping(spec, "drain", "spec.")),
        scaling=_scaling(_mapping(spec, "scaling", "spec."), worker.concurrency),
    )


def _worker(worker: Mapping[str, Any]) -> WorkerSpec:
    path = "spec.worker."
    queues = _list(worker, "queues", path)
    if not queues:
        raise InvalidSpec("spec.worker.queues is empty; name at least one queue, such as {name: default}")
    parsed = []
    for index, queue in enumerate(queues):
        where = f"{path}queues[{index}]."
        name = queue.get("name") if isinstance(queue, Mapping) else None
        if not isinstance(name, str) or not _QUEUE_NAME.fullmatch(name):
            raise InvalidSpec(f"{where}name is {name!r}; a queue's name has no space and no comma and is not empty")
        parsed.append(QueueSpec(name, _integer(queue, "weight", 1, where, least=1)))
    names = [queue.name for queue in parsed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidSpec(f"spec.worker.queues names {', '.join(twice)} twice; give it one entry and one weight")
    if worker.get("runtime", "Native") != "Native":
        raise InvalidSpec(f"spec.worker.runtime is {worker['runtime']!r}; this operator knows Native")
    return WorkerSpec(
        queues=tuple(parsed),
        order=_choice(worker, "order", cast("tuple[Order, ...]", get_args(Order)), "Weighted", path),
        concurrency=_integer(worker, "concurrency", 10, path, least=1),
    )


def _redis(redis: Mapping[str, Any]) -> RedisSpec:
    url, url_from = redis.get("url"), redis.get("urlFrom")
    if (url is None) == (url_from is None):
        raise InvalidSpec(
            "spec.redis needs exactly one of url and urlFrom; use urlFrom.secretKeyRef where the URL has a password"
        )
    secret = None
    if url_from is not None:
        reference = _mapping(_mapping(redis, "urlFrom", "spec.redis."), "secretKeyRef", "spec.redis.urlFrom.")
        name, secret_key = reference.get("name"), reference.get("key")
        if not name or not secret_key:
            raise InvalidSpec("spec.redis.urlFrom.secretKeyRef needs both name and key of a Secret in this namespace")
        secret = SecretKey(str(name), str(secret_key))
    elif not url:
        raise InvalidSpec("spec.redis.url is empty; write one such as redis://redis:6379/0")
    return RedisSpec(url=None if url is None else str(url), secret=secret, key_prefix=str(redis.get("keyPrefix") or ""))


def _template(template: Mapping[str, Any]) -> Mapping[str, Any]:
    pod = _mapping(template, "spec", "spec.template.")
    containers = _list(pod, "containers", "spec.template.spec.")
    if not containers:
        raise InvalidSpec("spec.template.spec.containers is empty; the worker needs a container, best named worker")
    for index, container in enumerate(containers):
        if not isinstance(container, Mapping) or not container.get("name"):
            raise InvalidSpec(f"spec.template.spec.containers[{index}] has no name; give it one, such as worker")
    policy = pod.get("restartPolicy", "Always")
    if policy != "Always":
        raise InvalidSpec(
            f"spec.template.spec.restartPolicy is {policy}; workers run for ever, so leave it out or write Always"
        )
    return template


def _rollout(rollout: Mapping[str, Any]) -> RolloutSpec:
    path = "spec.rollout."
    default = RolloutSpec()
    surge = _amount(rollout, "maxSurge", default.max_surge)
    unavailable = _amount(rollout, "maxUnavailable", default.max_unavailable)
    if surge.value == 0 and unavailable.value == 0:
        raise InvalidSpec("spec.rollout.maxSurge and maxUnavailable are both 0, so no pod could be replaced; raise one")
    return RolloutSpec(
        max_surge=surge,
        max_unavailable=unavailable,
        max_draining=_integer(rollout, "maxDraining", default.max_draining, path, least=1),
        min_ready_seconds=_integer(rollout, "minReadySeconds", default.min_ready_seconds, path),
        progress_deadline_seconds=_integer(
            rollout, "progressDeadlineSeconds", default.progress_deadline_seconds, path, least=1
        ),
        paused=bool(rollout.get("paused", default.paused)),
    )


def _drain(drain: Mapping[str, Any]) -> DrainSpec:
    path = "spec.drain."
    return DrainSpec(
        wait_for=_choice(drain, "waitFor", cast("tuple[WaitFor, ...]", get_args(WaitFor)), "Jobs", path),
        checkpoint_max_age_seconds=_integer(drain, "checkpointMaxAgeSeconds", 60, path, least=1),
    )


def _scaling(scaling: Mapping[str, Any], concurrency: int) -> ScalingSpec:
    path = "spec.scaling."
    mode = _choice(scaling, "mode", cast("tuple[ScalingMode, ...]", get_args(ScalingMode)), "Off", path)
    least = _integer(scaling, "minReplicas", 1, path)
    if mode == "Auto" and scaling.get("maxReplicas") is None:
        raise InvalidSpec("spec.scaling.mode is Auto and there is no spec.scaling.maxReplicas; say how many at most")
    most = _integer(scaling, "maxReplicas", max(1, least), path)
    if mode == "Auto" and least > most:
        raise InvalidSpec(f"spec.scaling.minReplicas ({least}) is more than maxReplicas ({most}); lower it")
    targets = _mapping(scaling, "targets", path)
    down = _mapping(_mapping(scaling, "behavior", path), "scaleDown", f"{path}behavior.")
    window = "stabilizationWindowSeconds"
    return ScalingSpec(
        mode=mode,
        min_replicas=least,
        max_replicas=most,
        backlog_per_replica=_integer(targets, "backlogPerReplica", concurrency, f"{path}targets.", least=1),
        scale_down_stabilization_seconds=_integer(down, window, 60, f"{path}behavior.scaleDown."),
    )


def _mapping(parent: Mapping[str, Any], name: str, path: str = "") -> Mapping[str, Any]:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidSpec(f"{path}{name} is {value!r}; it has to be a mapping")
    return value


def _list(parent: Mapping[str, Any], name: str, path: str) -> list[Any]:
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidSpec(f"{path}{name} is {value!r}; it has to be a list")
    return value


def _integer(parent: Mapping[str, Any], name: str, default: int, path: str, *, least: int = 0) -> int:
    value = parent.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSpec(f"{path}{name} is {value!r}; it has to be a whole number, at least {least}")
    return value


def _choice(parent: Mapping[str, Any], name: str, choices: tuple[C, ...], default: C, path: str) -> C:
    value = parent.get(name)
    if value is None:
        return default
    for choice in choices:
        if choice == value:
            return choice
    raise InvalidSpec(f"{path}{name} is {value!r}; it has to be one of {', '.join(choices)}")


def _amount(rollout: Mapping[str, Any], name: str, default: Amount) -> Amount:
    value = rollout.get(name)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Amount(value)
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return Amount(int(value[:-1]), percent=True)
    raise InvalidSpec(f"spec.rollout.{name} is {value!r}; write a whole number such as 1, or a share such as 25%")

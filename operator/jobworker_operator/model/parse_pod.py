"""A pod's JSON, trimmed to the facts that decisions need; tolerant of whatever is missing or badly written."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from jobworker_operator.model.facts import Crash, PodFacts, Removal, RemovalReason
from jobworker_operator.model.names import REMOVAL_ANNOTATION, REVISION_LABEL
from jobworker_operator.model.parse_spec import worker_container_index
from jobworker_operator.model.spec import RedisSpec, SecretKey
from jobworker_operator.model.times import from_rfc3339, to_rfc3339

_WORDS_LENGTH = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d[T ][\d:.,]+Z?\s+(?:[A-Z]+\s+)?")
_REASONS: tuple[RemovalReason, ...] = get_args(RemovalReason)


def parse_pod(obj: Mapping[str, Any]) -> PodFacts:
    """The facts of one pod; the worker's container is the one named ``worker``, else the first."""
    metadata, spec, status = (obj.get(part) or {} for part in ("metadata", "spec", "status"))
    created_at = from_rfc3339(metadata.get("creationTimestamp")) or 0.0
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    ready, scheduled = conditions.get("Ready") or {}, conditions.get("PodScheduled") or {}
    is_ready = ready.get("status") == "True"
    ready_changed = from_rfc3339(ready.get("lastTransitionTime"))
    container = _worker_container(spec)
    state = _container_status(status.get("containerStatuses"), container.get("name"))
    running = (state.get("state") or {}).get("running")
    waiting, about = _waiting(status, state)
    return PodFacts(
        uid=str(metadata.get("uid", "")),
        name=str(metadata.get("name", "")),
        revision=str((metadata.get("labels") or {}).get(REVISION_LABEL, "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        created_at=created_at,
        phase=str(status.get("phase") or "Pending"),
        scheduled=bool(spec.get("nodeName")) or scheduled.get("status") == "True",
        node=str(spec.get("nodeName") or ""),
        ready=is_ready,
        ready_since=ready_changed if is_ready else None,
        terminating=metadata.get("deletionTimestamp") is not None,
        container_running=running is not None,
        container_started_at=None if running is None else from_rfc3339(running.get("startedAt")),
        restarts=int(state.get("restartCount") or 0),
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=str(waiting.get("message") or ""),
        removal=removal_of((metadata.get("annotations") or {}).get(REMOVAL_ANNOTATION), created_at),
        unready_since=None if is_ready else ready_changed,
        terminating_since=_terminating_since(metadata),
        container_ever_started=_ever_started(state),
        waiting_container=about,
        unschedulable_message=_unschedulable(scheduled),
        status_reason=str(status.get("reason") or ""),
        status_message=str(status.get("message") or ""),
        disrupted=(conditions.get("DisruptionTarget") or {}).get("status") == "True"
        or status.get("reason") in {"Evicted", "Preempting", "NodeShutdown", "Shutdown", "NodeLost", "Terminated"},
        redis=_redis(container.get("env") or ()),
        container_ended=_how(_end(state)),
        crash=_crash(status, state),
        others_running=_others_running(status, container.get("name")),
    )


def removal_of(text: object, since: float = 0.0) -> Removal | None:
    """The removal that an annotation tells of; rubbish tells of none, a rubbish time is taken to be ``since``."""
    if not isinstance(text, str):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, Mapping) or value.get("reason") not in _REASONS:
        return None
    at = from_rfc3339(value.get("since"))
    return Removal(cast("RemovalReason", value["reason"]), since if at is None else at)


def removal_annotation(removal: Removal) -> str:
    """What `removal_of` reads back, to the second."""
    return json.dumps({"reason": removal.reason, "since": to_rfc3339(removal.since)})


def _worker_container(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = spec.get("containers") or []
    return cast("Mapping[str, Any]", containers[worker_container_index(containers)]) if containers else {}


def _container_status(statuses: Sequence[Mapping[str, Any]] | None, name: object) -> Mapping[str, Any]:
    return next((status for status in statuses or () if status.get("name") == name), {})


def _ever_started(state: Mapping[str, Any]) -> bool:
    present, last = state.get("state") or {}, state.get("lastState") or {}
    return any(part in moment for moment in (present, last) for part in ("running", "terminated"))


def _end(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the container's last life ended; None if it lives its first one."""
    ends = ((state.get(moment) or {}).get("terminated") for moment in ("state", "lastState"))
    return next((end for end in ends if end is not None), None)


def _how(end: Mapping[str, Any] | None) -> str:
    return "" if end is None else f"{end.get('reason') or 'Error'}, exit code {end.get('exitCode', 'unknown')}"


def _crash(status: Mapping[str, Any], worker: Mapping[str, Any]) -> Crash | None:
    """The first container that has ended and shall live. One that is ready did its work, or is at it."""
    for container in [*(status.get("initContainerStatuses") or ()), worker]:
        end = _end(container)
        if end is not None and not container.get("ready"):
            return Crash(str(container.get("name") or ""), _how(end), last_words(end.get("message")))
    return None


def last_words(message: object) -> str:
    """The last line of what a container said, for a sentence: of a line of JSON its message, and without the time."""
    lines = [line.strip() for line in _COLOURS.sub("", str(message or "")).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    if last.startswith("{"):
        # Without a message it is somebody else's way to log, and as good as any.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            last = str(json.loads(last)["message"])
    # A time would make new words of the same crash, and a new status of each.
    last = _STAMP.sub("", last)
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in last).split())
    return words if len(words) <= _WORDS_LENGTH else f"{words[: _WORDS_LENGTH - 1]}…"


def _others_running(status: Mapping[str, Any], worker: object) -> bool:
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any("running" in (one.get("state") or {}) for one in statuses if one.get("name") != worker)


def _waiting(status: Mapping[str, Any], worker: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """What the kubelet says about a container that waits. An init container in trouble speaks for the worker's."""
    for container in [*(status.get("initContainerStatuses") or ()), worker]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in {None, "", "PodInitializing", "ContainerCreating"}:
            return waiting, str(container.get("name") or "")
    return {}, ""


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    return str(scheduled.get("message") or "") if scheduled.get("status") == "False" else ""


def _terminating_since(metadata: Mapping[str, Any]) -> float | None:
    # deletionTimestamp is when the grace period will be over, not when the deletion was asked for.
    over = from_rfc3339(metadata.get("deletionTimestamp"))
    return None if over is None else over - float(metadata.get("deletionGracePeriodSeconds") or 0)


def _redis(env: Sequence[Mapping[str, Any]]) -> RedisSpec | None:
    by_name = {variable.get("name"): variable for variable in env}
    url = by_name.get("JOBWORKER_REDIS_URL")
    if url is None:
        return None
    prefix = str((by_name.get("JOBWORKER_KEY_PREFIX") or {}).get("value") or "")
    reference = (url.get("valueFrom") or {}).get("secretKeyRef")
    if reference is not None:
        secret = SecretKey(str(reference.get("name", "")), str(reference.get("key", "")))
        return RedisSpec(secret=secret, key_prefix=prefix)
    return RedisSpec(url=str(url.get("value") or ""), key_prefix=prefix)

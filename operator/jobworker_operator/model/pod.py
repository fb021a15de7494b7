"""The pod that a JobWorker asks for: its template, with what the worker must know injected.

The operator's variables win over the template's of the same name: a worker that registered under another identity
could not be asked whether it is busy. They come first, so the template's own variables may refer to them.
"""

from __future__ import annotations

import copy
from typing import Any

from jobworker_operator.model.names import (
    API_VERSION,
    HEALTH_PORT,
    JOBWORKER_LABEL,
    KIND,
    MANAGED_BY_LABEL,
    MANAGER,
    NAME_LABEL,
    REMOVAL_ANNOTATION,
    REVISION_LABEL,
)
from jobworker_operator.model.parse_spec import worker_container_index
from jobworker_operator.model.spec import InvalidSpec, JobWorker, JobWorkerSpec

_GRACE_SECONDS = 30  # Kubernetes' own default
_GRACE_MARGIN_SECONDS = 5  # what a worker needs to give its jobs back, after it stopped waiting for them


def pod_manifest(jobworker: JobWorker, revision: str) -> dict[str, Any]:
    """The manifest to create. It shares nothing with the template, which is left as it was.

    Raises:
        InvalidSpec: there is no spec to make a pod from.
    """
    spec = jobworker.spec
    if spec is None:
        raise InvalidSpec(jobworker.problem)
    metadata = copy.deepcopy(dict(spec.template.get("metadata") or {}))
    pod = copy.deepcopy(dict(spec.template.get("spec") or {}))
    pod["restartPolicy"] = "Always"
    pod.setdefault("terminationGracePeriodSeconds", _GRACE_SECONDS)
    container = pod["containers"][worker_container_index(pod["containers"])]
    ours = _environment(jobworker, spec, revision, int(pod["terminationGracePeriodSeconds"]))
    names = {variable["name"] for variable in ours}
    container["env"] = ours + [variable for variable in container.get("env") or () if variable.get("name") not in names]
    container.setdefault("readinessProbe", {"httpGet": {"path": "/readyz", "port": HEALTH_PORT}, "periodSeconds": 2})
    container.setdefault(
        "livenessProbe",
        {"httpGet": {"path": "/livez", "port": HEALTH_PORT}, "periodSeconds": 10, "failureThreshold": 6},
    )
    # So that status.lastState tells what the worker said last, and not only that it ended.
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(jobworker, revision, metadata), "spec": pod}


def _metadata(jobworker: JobWorker, revision: str, template: dict[str, Any]) -> dict[str, Any]:
    name = jobworker.key.name
    annotations = dict(template.get("annotations") or {})
    annotations.pop(REMOVAL_ANNOTATION, None)  # a pod that was born to go would be replaced for ever
    return {
        "generateName": f"{name}-{revision}-",
        "namespace": jobworker.key.namespace,
        "labels": {
            **(template.get("labels") or {}),
            JOBWORKER_LABEL: name,
            REVISION_LABEL: revision,
            MANAGED_BY_LABEL: MANAGER,
            NAME_LABEL: name,
        },
        "annotations": annotations,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": name,
                "uid": jobworker.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _environment(jobworker: JobWorker, spec: JobWorkerSpec, revision: str, grace: int) -> list[dict[str, Any]]:
    worker, redis = spec.worker, spec.redis
    values = {
        "JOBWORKER_FLEET": str(jobworker.key),
        "JOBWORKER_REVISION": revision,
        "JOBWORKER_KEY_PREFIX": redis.key_prefix,
        "JOBWORKER_QUEUES": " ".join(f"{queue.name},{queue.weight}" for queue in worker.queues),
        "JOBWORKER_ORDER": worker.order,
        "JOBWORKER_CONCURRENCY": str(worker.concurrency),
        "JOBWORKER_SHUTDOWN_SECONDS": str(max(1, grace - _GRACE_MARGIN_SECONDS)),
        "JOBWORKER_HEALTH_PORT": str(HEALTH_PORT),
    }
    if redis.secret is not None:
        reference = {"name": redis.secret.name, "key": redis.secret.key}
        url: dict[str, Any] = {"name": "JOBWORKER_REDIS_URL", "valueFrom": {"secretKeyRef": reference}}
    else:
        url = {"name": "JOBWORKER_REDIS_URL", "value": redis.url}
    return [
        {"name": "JOBWORKER_WORKER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "JOBWORKER_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        url,
        *({"name": name, "value": value} for name, value in values.items()),
    ]

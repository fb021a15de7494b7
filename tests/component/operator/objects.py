"""Objects as the API server would hold them, for component and integration tests."""

from __future__ import annotations

from typing import Any

from jobworker_operator.model.names import API_VERSION, JOBWORKER_LABEL, KIND, REVISION_LABEL

PODS = "/api/v1/namespaces/shop/pods"
ALL_PODS = "/api/v1/pods"
JOBWORKERS = "/apis/jobworker.dev/v1alpha1/namespaces/shop/jobworkers"
SECRETS = "/api/v1/namespaces/shop/secrets"
EVENTS = "/api/v1/namespaces/shop/events"

OWNER = "owner-uid"


def pod(name: str, *, owner: str = "mailers", redis_url: str | None = None, **status: Any) -> dict[str, Any]:
    """A pod of JobWorker shop/mailers."""
    env = [] if redis_url is None else [{"name": "JOBWORKER_REDIS_URL", "value": redis_url}]
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {JOBWORKER_LABEL: owner, REVISION_LABEL: "r1"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [
                {"apiVersion": API_VERSION, "kind": KIND, "name": owner, "uid": OWNER, "controller": True}
            ],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "worker", "image": "shop", "env": env}]},
        "status": {"phase": "Running", **status},
    }


def jobworker(name: str = "mailers", *, redis: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A JobWorker in namespace shop, as it comes from the API server: with its defaults."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": OWNER if name == "mailers" else f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "replicas": 2,
            "worker": {"queues": [{"name": "default"}]},
            "redis": redis or {"url": "redis://127.0.0.1:1/0"},
            "template": {"spec": {"containers": [{"name": "worker", "image": "shop"}]}},
            **spec,
        },
    }

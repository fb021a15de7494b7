"""Names that the operator writes on objects: part of its interface, so never changed without a migration."""

from __future__ import annotations

GROUP = "jobworker.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "JobWorker"
PLURAL = "jobworkers"

JOBWORKER_LABEL = f"{GROUP}/jobworker"
REVISION_LABEL = f"{GROUP}/revision"
NAME_LABEL = "app.kubernetes.io/name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "jobworker-operator"

REMOVAL_ANNOTATION = f"{GROUP}/removal"
RESTARTED_AT_ANNOTATION = f"{GROUP}/restartedAt"
DRAIN_FINALIZER = f"{GROUP}/drain"
ORPHAN_FINALIZER = "orphan"
"""The API server's own, while `kubectl delete --cascade=orphan` is under way: pods are to stay."""

WORKER_CONTAINER = "worker"
HEALTH_PORT = 7433

OPERATOR_QUIET = "operator: "
"""How a quiet reason begins that the operator set, and may lift. Any other was set by a person."""


def quiet_reason(removal_reason: str) -> str:
    """The quiet fact in Redis that goes with a removal."""
    return f"{OPERATOR_QUIET}{removal_reason}"


def selector(name: str) -> str:
    """Label selector of a JobWorker's pods, in its string form."""
    return f"{JOBWORKER_LABEL}={name}"

"""Adds and removes the operator's finalizer, after a test that the JobWorker is the one that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Conflict, Invalid, NotFound
from jobworker_operator.kube.resources import JOBWORKERS
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.spec import JobWorker


async def write_finalizer(
    kube: Kube, budget: WriteBudget, jobworker: JobWorker, learn: Callable[[dict[str, Any]], None], *, present: bool
) -> None:
    """Add or remove the finalizer; nothing happens if it is as wanted, or the JobWorker is gone.

    Raises:
        Conflict: the JobWorker has changed since it was looked at.
    """
    finalizers = [name for name in jobworker.finalizers if name != DRAIN_FINALIZER]
    if present:
        finalizers.append(DRAIN_FINALIZER)
    if tuple(finalizers) == jobworker.finalizers:
        return
    # The whole list is written, so others' finalizers would be lost if they were added in between: hence the test.
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": jobworker.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": jobworker.resource_version},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]
    key = jobworker.key
    await budget.take()
    try:
        answer = await kube.patch(JOBWORKERS, key.namespace, key.name, patch, media="json")
    except NotFound:
        return
    except Invalid as error:
        # The API server answers a failed test with 422. A finalizer list cannot be invalid otherwise.
        raise Conflict(f"{key} has changed since it was looked at: {error}", error.status) from error
    if present:
        learn(answer)  # without the finalizer it may be gone by now, and must not come back to memory

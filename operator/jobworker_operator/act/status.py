"""Writes the status: once a reconcile, and only what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import NotFound
from jobworker_operator.kube.resources import JOBWORKERS
from jobworker_operator.model.spec import JobWorker

SAMPLES = frozenset({"busyReplicas", "depth", "latencySeconds", "queues", "sampledAt", "scaling"})
"""Fields that move with every job. The plan already spaces them; here they yield to every other write."""

PUT_OFF_SECONDS = 5.0


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch that makes ``new`` of ``old``; empty if they are the same."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if value is None:
            # A merge patch cannot write null: it means absence, which is how the API server shows it again.
            if before is not None:
                patch[name] = None
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            if changes := merge_patch(before, value):
                patch[name] = changes
        elif name not in old or before != value:
            patch[name] = value
    return patch


class StatusWriter:
    """``learn`` is handed the JobWorker as it came back."""

    def __init__(self, kube: Kube, budget: WriteBudget, learn: Callable[[dict[str, Any]], None]) -> None:
        self._kube = kube
        self._budget = budget
        self._learn = learn

    async def write(self, jobworker: JobWorker, status: Mapping[str, Any]) -> float | None:
        """Make ``status`` the status. Returns seconds after which to try again if it was put off.

        Raises:
            KubeError: it could not be written.
        """
        patch = merge_patch(jobworker.status, status)
        if not patch:
            return None
        key = jobworker.key
        if patch.keys() <= SAMPLES:
            if not self._budget.take_spare():
                return PUT_OFF_SECONDS
        else:
            await self._budget.take()
        # The UID keeps the word about one JobWorker from a namesake that was created since.
        body = {"metadata": {"uid": jobworker.uid}, "status": patch}
        try:
            self._learn(await self._kube.patch(JOBWORKERS, key.namespace, key.name, body, subresource="status"))
        except NotFound:
            return None  # deleted meanwhile: nobody is left to tell
        return None

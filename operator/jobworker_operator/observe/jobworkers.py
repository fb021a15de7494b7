"""The JobWorkers: told by kopf's events, and by a full list every ten minutes.

kopf does not report what was deleted while its watch was down; the list does. An object that comes back from one of
our own patches is put here too, so that the next reconcile does not repeat what the watch has yet to show.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import KubeError
from jobworker_operator.kube.resources import JOBWORKERS
from jobworker_operator.model.parse import parse_jobworker
from jobworker_operator.model.spec import JobWorker, Key

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
_RETRY_SECONDS = 5.0


class JobWorkerStore:
    """``changed`` is called with the key when something was written that a decision may depend on."""

    def __init__(self, kube: Kube, namespaces: Sequence[str | None], changed: Callable[[Key], None]) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._changed = changed
        self._by_key: dict[Key, JobWorker] = {}
        self.listed = False

    def __iter__(self) -> Iterator[JobWorker]:
        return iter(list(self._by_key.values()))

    def get(self, key: Key) -> JobWorker | None:
        """The JobWorker, or None if there is none."""
        return self._by_key.get(key)

    def put(self, obj: dict[str, Any]) -> None:
        """Take over an object that the API server has sent; one that is older than what is known is passed over."""
        new = parse_jobworker(obj)
        old = self._by_key.get(new.key)
        if old is not None and old.uid == new.uid and _older(new.resource_version, old.resource_version):
            return
        self._set(new)

    def put_own(self, obj: dict[str, Any]) -> None:
        """Take over the answer to one of our patches, unless the object was deleted meanwhile."""
        metadata = obj["metadata"]
        known = self._by_key.get(Key(metadata["namespace"], metadata["name"]))
        if known is not None and known.uid == metadata["uid"]:
            self.put(obj)

    def drop(self, key: Key, uid: str) -> None:
        """Forget a JobWorker; a namesake that was created since is left alone."""
        known = self._by_key.get(key)
        if known is not None and known.uid == uid:
            del self._by_key[key]
            self._changed(key)

    async def sweep(self) -> None:
        """Read all of them and forget those that are gone.

        Raises:
            KubeError: the list could not be read; nothing was forgotten.
        """
        before = dict(self._by_key)
        seen: set[Key] = set()
        for namespace in self._namespaces:
            async for page in self._kube.pages(JOBWORKERS, namespace):
                for obj in page["items"]:
                    jobworker = parse_jobworker(obj)
                    seen.add(jobworker.key)
                    self.put(obj)
        for key, jobworker in before.items():
            if key not in seen:
                self.drop(key, jobworker.uid)
        self.listed = True

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            pause = SWEEP_SECONDS * random.uniform(0.9, 1.1)
            try:
                await self.sweep()
            except KubeError as error:
                log.warning("Cannot list JobWorkers, trying again in %g s: %s", _RETRY_SECONDS, error)
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    def _set(self, new: JobWorker) -> None:
        old = self._by_key.get(new.key)
        self._by_key[new.key] = new
        if old is None or _decisive(old) != _decisive(new):
            self._changed(new.key)


def _decisive(jobworker: JobWorker) -> tuple[object, ...]:
    # The status is our own word: what we said must not wake us.
    return (
        jobworker.uid, jobworker.generation, jobworker.deleting, jobworker.finalizers, jobworker.annotations,
    )  # fmt: skip


def _older(one: str, other: str) -> bool:
    # Versions of one kind may be compared as numbers (Kubernetes promises it since 1.35); anything else is not older.
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)

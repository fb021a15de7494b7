"""The pods of all JobWorkers, by JobWorker: what a reconcile reads instead of asking the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.resources import PODS
from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.names import JOBWORKER_LABEL, KIND
from jobworker_operator.model.parse import parse_pod
from jobworker_operator.model.spec import Key
from jobworker_operator.observe.reflector import Reflector

Changed = Callable[[Key, str, PodFacts | None], None]
"""Called with the JobWorker, the pod's UID, and its facts or None when it is gone."""


@dataclass(frozen=True, slots=True)
class OwnedPod:
    """A pod and the JobWorker that controls it. ``owner`` is that one's UID: a namesake's pods are not its own.

    ``owner`` is empty for a pod that was released (`kubectl delete --cascade=orphan`): its work goes on, so its worker
    is no orphan, and whoever deletes the JobWorker does not wait for it.
    """

    key: Key
    owner: str
    facts: PodFacts


class PodStore:
    """One reflector for each namespace (None: one for all)."""

    def __init__(self, kube: Kube, namespaces: Sequence[str | None], changed: Changed) -> None:
        self._changed = changed
        self._by_key: dict[Key, dict[str, OwnedPod]] = {}
        self.reflectors = [
            Reflector(kube, PODS, namespace, JOBWORKER_LABEL, _trim, self._on_change) for namespace in namespaces
        ]

    async def run(self) -> None:
        """Follow the pods for ever."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self.reflectors:
                tasks.create_task(reflector.run(), name=f"pods of {reflector.namespace or 'all namespaces'}")

    @property
    def synced(self) -> bool:
        """All lists were read once: what is not known here does not exist."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    async def wait_synced(self) -> None:
        """Return when all lists were read once."""
        for reflector in self.reflectors:
            await reflector.synced.wait()

    def of(self, key: Key, owner: str) -> tuple[PodFacts, ...]:
        """The pods that the JobWorker with UID ``owner`` controls, the oldest first."""
        pods = (pod.facts for pod in self._by_key.get(key, {}).values() if pod.owner == owner)
        return tuple(sorted(pods, key=lambda pod: (pod.created_at, pod.name)))

    def uids(self, key: Key) -> frozenset[str]:
        """All pods that carry the JobWorker's label, whoever controls them."""
        return frozenset(self._by_key.get(key, ()))

    def get(self, key: Key, uid: str) -> PodFacts | None:
        """A pod, or None if there is none with that UID."""
        pod = self._by_key.get(key, {}).get(uid)
        return None if pod is None else pod.facts

    def _on_change(self, uid: str, old: OwnedPod | None, new: OwnedPod | None) -> None:
        if old is not None and (new is None or new.key != old.key):
            siblings = self._by_key[old.key]
            del siblings[uid]
            if not siblings:
                del self._by_key[old.key]
            self._changed(old.key, uid, None)
        if new is not None:
            self._by_key.setdefault(new.key, {})[uid] = new
            self._changed(new.key, uid, new.facts)


def _trim(obj: dict[str, Any]) -> OwnedPod | None:
    metadata = obj["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") and reference.get("kind") == KIND:
            return OwnedPod(Key(metadata["namespace"], reference["name"]), reference["uid"], parse_pod(obj))
    if any(reference.get("controller") for reference in metadata.get("ownerReferences") or ()):
        return None
    return OwnedPod(Key(metadata["namespace"], metadata["labels"][JOBWORKER_LABEL]), "", parse_pod(obj))

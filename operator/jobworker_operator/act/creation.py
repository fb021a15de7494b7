"""Creates pods: one first, then twice as many, so that a template that is refused is refused once, not fifty times.

A refusal is remembered by JobWorker and revision: it becomes a sentence for the plan, which tells it in status and
Events, and nothing is tried again before a pause that grows. A new revision is tried at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.closing import Closing
from jobworker_operator.act.expectations import Expectations, Shows
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NamespaceTerminating,
    NotFound,
    Unavailable,
)
from jobworker_operator.kube.resources import PODS
from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.pod import pod_manifest
from jobworker_operator.model.spec import JobWorker, Key

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0  # a quota is often made larger soon after somebody has read the status
_CONFLICT_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server would not have a pod of ``revision``. Times are monotonic."""

    revision: str
    sentence: str
    pause: float
    until: float


class PodCreator:
    """``shown`` tells what the watch shows of a pod at this moment."""

    def __init__(
        self,
        kube: Kube,
        budget: WriteBudget,
        expectations: Expectations,
        shown: Callable[[Key, str], PodFacts | None],
        closing: Closing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._budget = budget
        self._expectations = expectations
        self._shown = shown
        self._closing = closing
        self._clock = clock
        self._refusals: dict[Key, Refusal] = {}

    def problem(self, key: Key) -> str | None:
        """What stands in the way of new pods."""
        refusal = self._refusals.get(key)
        return None if refusal is None else refusal.sentence

    def forget(self, key: Key) -> None:
        """Pods were created, none are wanted any more, or the JobWorker is gone."""
        self._refusals.pop(key, None)

    async def create(self, jobworker: JobWorker, revision: str, count: int) -> float | None:
        """Create ``count`` pods. Returns seconds after which to try again if not all were.

        Raises:
            Unavailable: the API server did not answer; a pod may have been created all the same.
        """
        key = jobworker.key
        if jobworker in self._closing:
            return None
        refusal = self._refusals.get(key)
        if refusal is not None and refusal.revision == revision and self._clock() < refusal.until:
            return refusal.until - self._clock()
        manifest = pod_manifest(jobworker, revision)
        batch = 1
        while count > 0:
            batch = min(batch, count)
            # Each result is looked at, so that one failure does not hide the pods that were created beside it.
            answers = await asyncio.gather(
                *(self._create_one(key, manifest) for _ in range(batch)), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    return self._failed(jobworker, revision, answer)
            count -= batch
            batch *= 2
        self._refusals.pop(key, None)
        return None

    async def _create_one(self, key: Key, manifest: dict[str, object]) -> None:
        await self._budget.take()
        try:
            pod = await self._kube.create(PODS, key.namespace, manifest)
        except Unavailable:
            self._expectations.doubt(key)
            raise
        metadata = pod["metadata"]
        self._expectations.expect(key, metadata["uid"], Shows.THERE, self._shown(key, metadata["uid"]))
        log.info("Created pod %s", metadata["name"])

    def _failed(self, jobworker: JobWorker, revision: str, error: BaseException) -> float | None:
        if isinstance(error, NamespaceTerminating):
            self._closing.add(jobworker)
            return None
        if isinstance(error, Conflict):
            return _CONFLICT_PAUSE  # the generated name was taken: the next one will not be
        if not isinstance(error, Forbidden | Invalid | NotFound):
            raise error
        before = self._refusals.get(jobworker.key)
        again = before is not None and before.revision == revision
        pause = min(LONGEST_PAUSE, before.pause * 2) if before is not None and again else FIRST_PAUSE
        sentence = _sentence(error, f"{jobworker.key.name}-{revision}-")
        self._refusals[jobworker.key] = Refusal(revision, sentence, pause, self._clock() + pause)
        if not again:
            log.warning("%s", sentence)
        return pause


def _sentence(error: KubeError, generate_name: str) -> str:
    # Every try makes up a name; the same refusal has to read the same, or it would be news each time.
    words = re.sub(re.escape(generate_name) + r"[a-z0-9]+", generate_name + "…", error.words)
    if "exceeded quota" in words:
        return f"No pod can be created, a ResourceQuota of the namespace is used up: {words}"
    if "PodSecurity" in words:
        return f"No pod can be created, Pod Security of the namespace refuses the template: {words}"
    if isinstance(error, Forbidden):
        return f"No pod can be created, it is forbidden: {words}"
    return f"No pod can be created, the API server refuses the template: {words}"

"""What was written and has not come back by the watch yet.

Whoever decides on a memory that lacks the last write decides twice: a second pod for the same gap, one deletion too
many. So a JobWorker with an open expectation is not settled, for at most half a minute: an event can get lost.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.spec import Key

LOST_AFTER_SECONDS = 30.0
DOUBTFUL_SECONDS = 5.0  # a create without an answer may have happened; its pod shows up within this, or it did not


class Shows(Enum):
    """What the watch has to show of a pod."""

    THERE = "there"
    GOING = "going"
    """Terminating, or gone."""
    MARKED = "marked"
    """With the annotation that it shall go."""
    UNMARKED = "unmarked"


@dataclass(frozen=True, slots=True)
class _Expected:
    shows: Shows | None  # None: nothing would prove it, only time
    until: float


class Expectations:
    """Open expectations by JobWorker and pod."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[Key, dict[str, _Expected]] = {}
        self._doubts = itertools.count()

    def expect(self, key: Key, uid: str, shows: Shows, pod: PodFacts | None) -> None:
        """A write was answered; ``pod`` is what the watch shows at this moment."""
        if not _fulfilled(shows, pod):
            self._open.setdefault(key, {})[uid] = _Expected(shows, self._clock() + LOST_AFTER_SECONDS)

    def doubt(self, key: Key) -> None:
        """A create was not answered: a pod may show up, and nobody knows its UID."""
        expected = _Expected(None, self._clock() + DOUBTFUL_SECONDS)
        self._open.setdefault(key, {})[f"doubt {next(self._doubts)}"] = expected

    def observed(self, key: Key, uid: str, pod: PodFacts | None) -> None:
        """The watch shows a pod, or that it is gone."""
        pods = self._open.get(key)
        expected = None if pods is None else pods.get(uid)
        if pods is None or expected is None or expected.shows is None:
            return
        # A pod that is gone was shown before, so whatever was expected of it has happened.
        if pod is None or _fulfilled(expected.shows, pod):
            del pods[uid]
            if not pods:
                del self._open[key]

    def unsettled_seconds(self, key: Key) -> float | None:
        """How long to wait at most until the JobWorker is settled; None if it is."""
        pods = self._open.get(key)
        if not pods:
            return None
        now = self._clock()
        for uid in [uid for uid, expected in pods.items() if expected.until <= now]:
            del pods[uid]
        if not pods:
            del self._open[key]
            return None
        return max(expected.until for expected in pods.values()) - now

    def forget(self, key: Key) -> None:
        """The JobWorker is gone."""
        self._open.pop(key, None)


def _fulfilled(shows: Shows, pod: PodFacts | None) -> bool:
    match shows:
        case Shows.THERE:
            return pod is not None
        case Shows.GOING:
            return pod is None or pod.terminating
        case Shows.MARKED:
            return pod is None or pod.removal is not None
        case Shows.UNMARKED:
            return pod is None or pod.removal is None

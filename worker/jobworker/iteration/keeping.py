"""Where an iterating job stands between its runs, and what keeps that: the port to Redis, and to a test's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from jobworker.iteration.progress import Ledger
from jobworker.protocol.records import Checkpoint, IterationState, Wish


class Kept(Enum):
    """What became of a checkpoint."""

    WRITTEN = "written"
    CANCELLED = "cancelled"
    """Written, and somebody cancelled the job meanwhile."""
    PAUSED = "paused"
    """Written, and somebody paused the job meanwhile."""
    LATER = "later"
    """Redis did not answer; nothing is known to be written."""


_KEPT = {Wish.NONE: Kept.WRITTEN, Wish.CANCEL: Kept.CANCELLED, Wish.PAUSE: Kept.PAUSED}


def kept_as(wish: Wish) -> Kept:
    """What became of a checkpoint that was written, given what somebody wants of its job."""
    return _KEPT[wish]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the job stood when this run began."""

    state: IterationState = field(default_factory=IterationState)
    processed: int = 0
    failed: int = 0
    errors: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    done: Mapping[str, int] = field(default_factory=dict)
    """How many ids of each kind are done."""
    rate: float | None = None
    """Rows a second when it was last seen."""


class Keeper(Ledger, Protocol):
    """Keeps the job's place in Redis."""

    async def load(self) -> Place:
        """Where the job stands."""
        ...

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:
        """Write it down; with ``wait`` for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        ...

    @property
    def disowned(self) -> bool:
        """True once the job is known to be somebody else's, or its time is over: its thread shall do no more."""
        ...

    @property
    def held(self) -> bool:
        """True while it is still this worker's, so that a checkpoint counts."""
        ...

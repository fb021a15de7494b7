"""Keeps the slices of parallel jobs together in memory as the scripts do in Redis.

`SliceKeeper` passes the same tests of behaviour as the keeper of a worker on a real Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobworker.jobs.definition import Options
from jobworker.protocol.payload import JobId, Payload
from jobworker.protocol.records import Outcome, Wish
from jobworker.protocol.slices import Slice, Split, joined, splitting
from jobworker.runtime import retries
from jobworker.testing.keeper import MemoryKeeper
from jobworker.testing.memory import Memory, Slices


class SliceKeeper(MemoryKeeper):
    """The place of one running job that may be split, or be a slice."""

    def __init__(self, memory: Memory, payload: Payload, options: Options) -> None:
        super().__init__(memory.places, payload.jid)
        self._memory = memory
        self._payload = payload
        self._options = options

    async def split_before(self) -> Split | None:
        """What keeps the job from being split."""
        jid = self._payload.jid
        if jid in self._memory.slices:
            return Split.ALREADY
        return {Wish.NONE: None, Wish.CANCEL: Split.CANCELLED, Wish.PAUSE: Split.PAUSED}[self._memory.places.wish(jid)]

    async def split(self, values: Sequence[Any], total: int | None) -> Split:
        """Enqueue the slices, unless that was done before."""
        if (before := await self.split_before()) is not None:
            return before
        memory, jid = self._memory, self._payload.jid
        made = splitting(self._payload, values, memory.clock.seconds)
        memory.slices[jid] = Slices(made, set(range(len(values))))
        memory.places.begin(jid, total)
        memory.push(made.slices or [joined(made, memory.clock.seconds)])
        return Split.SPLIT

    async def slice_over(self, part: Slice, *, cancelled: bool, kept_seconds: int) -> int:  # noqa: ARG002  # for ever
        """Tell that a slice has ended. How many are left; -1 where the whole job is unknown by now."""
        return self._memory.slice_over(part.of, part.number, cancelled=cancelled)

    def kept_after(self, error: Exception) -> bool:
        """Will the job be kept after it raised this?"""
        verdict = retries.decide(self._payload, error, self._memory.clock.seconds, self._options)
        return verdict.outcome is not Outcome.FAILED


def whole_of(job: Payload) -> JobId:
    """The jid of the job that a slice belongs to; its own of any other."""
    part = Slice.read(job.extra)
    return job.jid if part is None else part.of

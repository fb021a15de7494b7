"""Keeps the places of iterating jobs in memory as a worker keeps them in Redis.

`MemoryKeeper` passes the same contract tests as the keeper of a worker on a real Redis.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobworker.errors import NotHeld
from jobworker.iteration.run import Kept, Place, kept_as
from jobworker.protocol.records import Checkpoint, IterationState, Wish


@dataclass(slots=True)
class Places:
    """The place of each job by its jid: what would lie in Redis, and outlives a run."""

    _places: dict[str, Place] = field(default_factory=dict)

    def of(self, jid: str) -> Place:
        """Where a job stands."""
        return self._places.get(jid, Place())

    def cancel(self, jid: str) -> None:
        """Ask a job to end; it hears of it at its next checkpoint, or before its next run."""
        place = self.of(jid)
        self._places[jid] = replace(place, state=replace(place.state, cancelled=True))

    def write(self, jid: str, checkpoint: Checkpoint) -> Wish:
        """Write where a job stands; what somebody wants of it by now."""
        before = self.of(jid)
        processed, failed, errors = before.processed, before.failed, dict(before.errors)
        if checkpoint.progress is not None:
            processed, failed = checkpoint.progress.processed, checkpoint.progress.failed
            errors.update(checkpoint.progress.errors)
        cancelled, paused = before.state.cancelled, before.state.paused
        state = IterationState(checkpoint.cursor, checkpoint.executions, checkpoint.run_seconds, cancelled, paused)
        self._places[jid] = Place(state, processed, failed, errors)
        return state.wish

    def forget(self, jid: str) -> None:
        """The job has ended."""
        self._places.pop(jid, None)


class MemoryKeeper:
    """The place of one running job. ``disowned`` is the test's to set: the job has another holder from then on."""

    def __init__(self, places: Places, jid: str) -> None:
        self._places = places
        self._jid = jid
        self.disowned = False

    @property
    def held(self) -> bool:
        """Is it still this run's, so that a checkpoint counts?"""
        return not self.disowned

    async def load(self) -> Place:
        """Where the job stands.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        self._refuse()
        return self._places.of(self._jid)

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:  # noqa: ARG002  # memory is never away
        """Write it down.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        self._refuse()
        return kept_as(self._places.write(self._jid, state))

    def _refuse(self) -> None:
        if self.disowned:
            raise NotHeld(f"job {self._jid} has another holder by now")

"""Keeps the places of iterating jobs in memory as a worker keeps them in Redis.

`MemoryKeeper` passes the same contract tests as the keeper of a worker on a real Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from jobworker.errors import NotHeld
from jobworker.iteration.run import Kept, Place, kept_as
from jobworker.protocol.job_states import JobState
from jobworker.protocol.number_sets import join, runs
from jobworker.protocol.records import Checkpoint, DoneIds, IterationState, Wish


@dataclass(slots=True)
class Places:
    """The place of each job by its jid: what would lie in Redis, and outlives a run."""

    _places: dict[str, Place] = field(default_factory=dict)
    _wishes: dict[str, Wish] = field(default_factory=dict)
    _listeners: dict[str, Callable[[], None]] = field(default_factory=dict)
    _done: dict[tuple[str, str], tuple[dict[int, int], set[str]]] = field(default_factory=dict)
    _failed_rows: dict[str, dict[int, int]] = field(default_factory=dict)
    _totals: dict[str, int] = field(default_factory=dict)
    _ends: dict[str, JobState] = field(default_factory=dict)

    def of(self, jid: str) -> Place:
        """Where a job stands."""
        place, wish = self._places.get(jid, Place()), self.wish(jid)
        state = replace(place.state, cancelled=wish is Wish.CANCEL, paused=wish is Wish.PAUSE)
        return replace(place, state=state)

    def wish(self, jid: str) -> Wish:
        """What somebody wants of a job."""
        return self._wishes.get(jid, Wish.NONE)

    def cancel(self, jid: str) -> None:
        """Ask a job to end; it hears of it after its present item, or before its next run."""
        self.want(jid, Wish.CANCEL)

    def want(self, jid: str, wish: Wish) -> None:
        """Ask a job to end, to rest, or to go on; also from another thread than its own."""
        self._wishes[jid] = wish
        if wish is not Wish.NONE and (hurry := self._listeners.get(jid)) is not None:
            hurry()

    @contextmanager
    def listening(self, jid: str, hurry: Callable[[], None]) -> Iterator[None]:
        """Call ``hurry`` when somebody wants the job to end or to rest."""
        self._listeners[jid] = hurry
        try:
            yield
        finally:
            del self._listeners[jid]

    def write(self, jid: str, checkpoint: Checkpoint) -> Wish:
        """Write where a job stands; what somebody wants of it by now."""
        before = self.of(jid)
        processed, failed, errors, rate = before.processed, before.failed, dict(before.errors), before.rate
        if checkpoint.progress is not None:
            processed, failed = checkpoint.progress.processed, checkpoint.progress.failed
            errors.update(checkpoint.progress.errors)
            rate = checkpoint.progress.rate if checkpoint.progress.rate is not None else rate
            if checkpoint.progress.total is not None:
                self._totals[jid] = checkpoint.progress.total
            join(self._failed_rows.setdefault(jid, {}), checkpoint.progress.failed_rows)
            self.note_done(jid, checkpoint.progress.done)
        state = IterationState(checkpoint.cursor, checkpoint.executions, checkpoint.run_seconds, tries=checkpoint.tries)
        self._places[jid] = Place(state, processed, failed, errors, self.of(jid).done, rate)
        return self.wish(jid)

    def note_done(self, jid: str, done: Sequence[DoneIds]) -> None:
        """These ids of a job are done."""
        counts = dict(self.of(jid).done)
        for each in done:
            numbers, texts = self._done.setdefault((jid, each.kind), ({}, set()))
            join(numbers, each.numbers)
            texts.update(each.texts)
            counts[each.kind] = sum(bits.bit_count() for bits in numbers.values()) + len(texts)
        self._places[jid] = replace(self.of(jid), done=counts)

    def look_up(self, jid: str, kind: str, chunks: Sequence[int], texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        """The bits of chunks of the numbers that are done, and whether each of the texts is."""
        numbers, known = self._done.get((jid, kind), ({}, set()))
        return [numbers.get(chunk, 0) for chunk in chunks], [text in known for text in texts]

    def begin(self, jid: str, total: int | None = None) -> Place:
        """A run begins here. Without a cursor its rows begin anew; which ids are done stays known."""
        if total is not None:
            self._totals[jid] = total
        self._ends.pop(jid, None)
        self._places.setdefault(jid, Place())
        place = self.of(jid)
        return place if place.state.cursor is not None else Place(place.state, done=place.done, rate=place.rate)

    def end(self, jid: str) -> None:
        """The job has ended: how far it came can be read, and one of the same jid would begin anew."""
        self._ends[jid] = JobState.CANCELLED if self.wish(jid) is Wish.CANCEL else JobState.DONE
        self._places[jid] = replace(self.of(jid), state=IterationState())
        self._wishes.pop(jid, None)

    def end_of(self, jid: str) -> JobState | None:
        """How it ended; None if it did not."""
        return self._ends.get(jid)

    def knows(self, jid: str) -> bool:
        """Has it ever run?"""
        return jid in self._places

    def total_of(self, jid: str) -> int | None:
        """Of how many rows its last checkpoint told."""
        return self._totals.get(jid)

    def failed_rows(self, jid: str) -> tuple[range, ...]:
        """The rows with errors."""
        return tuple(runs(self._failed_rows.get(jid, {})))


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
        return self._places.begin(self._jid)

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:  # noqa: ARG002  # memory is never away
        """Write it down.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        self._refuse()
        return kept_as(self._places.write(self._jid, state))

    async def look_up(self, kind: str, chunks: Sequence[int], texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        """What is done of these ids.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        self._refuse()
        return self._places.look_up(self._jid, kind, chunks, texts)

    async def note_done(self, done: Sequence[DoneIds]) -> None:
        """Write at once that ids are done.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        self._refuse()
        self._places.note_done(self._jid, done)

    def _refuse(self) -> None:
        if self.disowned:
            raise NotHeld(f"job {self._jid} has another holder by now")

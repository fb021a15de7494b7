"""What an iterating job has done so far: counts, ids that are done, and what was wrong with which row.

Collected in memory between two checkpoints and written together with the cursor in one step, so that after a crash
both tell the same story. Bounded: of a million wrong rows all are numbered, and the first ten thousand are explained.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

from jobworker.iteration.done import DoneOfKind, Id
from jobworker.protocol.number_sets import chunk_of, packed, unpacked
from jobworker.protocol.records import DoneIds, Progress

ROWS_EXPLAINED = 10_000
"""Rows of a job whose messages are kept; further rows with errors are only counted."""

_MESSAGES = 100  # of one row
_LENGTH = 1_000  # characters of one message
_CHARACTERS = 10_000_000  # of all messages of a job: what the worker holds of them

_UNWRITTEN = 10_000  # chunks and texts of done ids between two checkpoints: a script call has a size
_AT_ONCE = 1_000  # ids that are looked up in one crossing
_RATE_SECONDS = 30.0  # over which the rate is smoothed
_SHORTEST = 0.05  # seconds: what happened in less says nothing of a rate

T = TypeVar("T", bound=int | str)
R = TypeVar("R")


class Ledger(Protocol):
    """Where ids that are done are kept. Both raise NotHeld once the job is somebody else's."""

    async def look_up(self, kind: str, chunks: Sequence[int], texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        """The bits of chunks of the numbers that are done, and whether each of the texts is."""
        ...

    async def note_done(self, done: Sequence[DoneIds]) -> None:
        """Write at once that ids are done."""
        ...


class JobProgress:
    """The progress of one run of an iterating job. Rows are numbered from 1 in the order of the enumerator.

    ``total`` may be set by the job where its enumerator does not know it. ``rate`` is in rows a second, smoothed over
    half a minute, None as long as nobody knows.

    Ids are whole numbers or texts, of as many kinds as the job likes. `done` writes them with the next checkpoint:
    what SIGKILL makes the job repeat, it may do again. `done_now` writes them before it returns, for a network crossing
    each time (about 0.2 ms), which only leaves the moment between the effect and the call.
    """

    __slots__ = (
        "_at", "_characters", "_errors", "_failed", "_failed_rows", "_kinds", "_ledger", "_loop", "_measured",
        "_new_failed_rows", "_press", "_resumed", "_touched", "processed", "rate", "total",
    )  # fmt: skip

    def __init__(
        self,
        processed: int = 0,
        failed: int = 0,
        errors: Mapping[int, tuple[str, ...]] | None = None,
        *,
        done: Mapping[str, int] | None = None,
        rate: float | None = None,
        ledger: Ledger | None = None,
        press: Callable[[], None] = lambda: None,
    ) -> None:
        self.processed = processed
        self.total: int | None = None
        self.rate = rate
        self._at: float | None = None
        self._measured = processed
        self._errors: dict[int, list[str]] = {row: list(known) for row, known in (errors or {}).items()}
        self._characters = sum(len(message) for known in self._errors.values() for message in known)
        self._failed = max(failed, len(self._errors))
        # Of the rows up to here it may be unknown which had errors before: only those that are explained are read back.
        self._resumed = processed if self._failed > len(self._errors) else 0
        self._failed_rows: dict[int, int] = {}
        self._new_failed_rows: dict[int, int] = {}
        self._touched: set[int] = set()
        self._kinds = {kind: DoneOfKind(kind, count) for kind, count in (done or {}).items()}
        self._ledger = ledger
        self._loop = asyncio.get_running_loop() if ledger is not None else None
        self._press = press  # has a checkpoint written soon

    @property
    def row(self) -> int:
        """The number of the row that is being processed."""
        return self.processed + 1

    @property
    def failed(self) -> int:
        """How many rows have errors."""
        return self._failed

    def error(self, *messages: str) -> None:
        """Note what is wrong with the row that is being processed; once for each thing that is."""
        self.fail(self.row, *messages)

    def fail(self, row: int, *messages: str) -> None:
        """Note what is wrong with a row: up to a hundred messages of a thousand characters.

        Once `ROWS_EXPLAINED` rows have messages, a further row is counted and its messages are dropped.

        Raises:
            ValueError: no message, or a row that was not reached yet.
        """
        if not messages:
            raise ValueError(f"row {row}: say what is wrong with it")
        if not 1 <= row <= self.row:
            raise ValueError(f"row {row} is not among the rows 1 to {self.row} that were reached so far")
        known = self._errors.get(row)
        if known is None:
            if not self._counted(row):
                return
            if len(self._errors) >= ROWS_EXPLAINED or self._characters >= _CHARACTERS:
                return
            known = self._errors[row] = []
        # After a crash the rows since the last checkpoint are walked again: the same message is the same error.
        new = [message for message in map(_kept, messages) if message not in known][: max(0, _MESSAGES - len(known))]
        known += new
        self._characters += sum(map(len, new))
        self._touched.add(row)

    def _counted(self, row: int) -> bool:
        """Count a row that is not explained. False where it was known: it had its chance, or its messages are gone."""
        chunk, bit = chunk_of(row)
        before = self._failed_rows.get(chunk, 0)
        if before & bit or row <= self._resumed:
            return False
        self._failed_rows[chunk] = before | bit
        self._new_failed_rows[chunk] = self._new_failed_rows.get(chunk, 0) | bit
        self._failed += 1
        return True

    def advance(self) -> None:
        """The row is done."""
        self.processed += 1

    def done(self, kind: str, *ids: Id) -> None:
        """These ids of a kind are done; written with the next checkpoint, in one step with the cursor.

        Raises:
            TypeError: an id is neither a whole number nor a text.
        """
        found = self._of(kind)
        found.note(ids)
        if found.unwritten >= _UNWRITTEN:
            self._press()

    async def done_now(self, kind: str, *ids: Id) -> None:
        """`done`, written before it returns: not even SIGKILL makes the job forget it.

        Raises:
            TypeError: an id is neither a whole number nor a text.
            NotHeld: the job is somebody else's by now.
        """
        found = self._of(kind)
        found.note(ids)
        snapshot = found.snapshot()
        await self._books.note_done([snapshot])
        found.written(snapshot)

    def done_now_sync(self, kind: str, *ids: Id) -> None:
        """`done_now` for plain jobs."""
        self._wait_for(self.done_now(kind, *ids))

    async def not_done(self, kind: str, ids: Iterable[T]) -> list[T]:
        """Those of the ids that are not done yet, in their order: look-ups in Redis take a crossing for a thousand.

        Raises:
            TypeError: an id is neither a whole number nor a text.
            NotHeld: the job is somebody else's by now.
        """
        found = self._of(kind)
        left: list[T] = []
        for some in _in_lots(ids):
            while (answer := found.which_are_not(some)) is None:
                chunks, texts = found.unknown(some)
                bits, known = await self._books.look_up(kind, chunks, texts)
                found.learn(chunks, bits, texts, known)
            left += answer
        return left

    def not_done_sync(self, kind: str, ids: Iterable[T]) -> list[T]:
        """`not_done` for plain jobs."""
        return self._wait_for(self.not_done(kind, ids))

    async def is_done(self, kind: str, each: Id) -> bool:
        """Is the id done? Of many, ask `not_done`.

        Raises:
            TypeError: the id is neither a whole number nor a text.
            NotHeld: the job is somebody else's by now.
        """
        return not await self.not_done(kind, [each])

    def is_done_sync(self, kind: str, each: Id) -> bool:
        """`is_done` for plain jobs."""
        return not self.not_done_sync(kind, [each])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of ids of which some are done."""
        return tuple(self._kinds)

    def _of(self, kind: str) -> DoneOfKind:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = DoneOfKind(kind)
        return found

    @property
    def _books(self) -> Ledger:
        if self._ledger is None:
            raise RuntimeError("this progress belongs to no running job: ids can only be looked up by one")
        return self._ledger

    def _wait_for(self, work: Coroutine[Any, Any, R]) -> R:
        loop = self._loop
        if loop is None or _running_loop() is loop:
            work.close()
            raise RuntimeError("this is the event loop of the worker: await the method whose name has no _sync")
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def take_back(self, rows: int) -> None:
        """Only so many rows are safe, and those behind them are walked again: they are no rate below zero."""
        self.processed = rows
        self._measured = min(self._measured, rows)

    def measure(self, now: float) -> None:
        """Look at the rate; ``now`` in seconds of a clock that never goes back."""
        if self._at is None:
            self._at = now
            return
        seconds = now - self._at
        if seconds < _SHORTEST:
            return
        seen = (self.processed - self._measured) / seconds
        share = 1.0 if self.rate is None else 1.0 - math.exp(-seconds / _RATE_SECONDS)
        self.rate = (self.rate or 0.0) * (1.0 - share) + seen * share
        self._at, self._measured = now, self.processed

    def snapshot(self) -> Progress:
        """What the next checkpoint writes; `written` is called when it was."""
        return Progress(
            processed=self.processed,
            failed=self.failed,
            total=self.total,
            errors=tuple((row, tuple(self._errors[row])) for row in sorted(self._touched)),
            failed_rows=packed(dict(self._new_failed_rows)),
            done=tuple(kind.snapshot() for kind in list(self._kinds.values())),
            rate=self.rate,
        )

    def written(self, snapshot: Progress) -> None:
        """Redis has it."""
        # A row that got another message while the snapshot travelled stays for the next one.
        self._touched -= {row for row, messages in snapshot.errors if len(self._errors[row]) == len(messages)}
        for chunk, raw in snapshot.failed_rows:
            left = self._new_failed_rows.get(chunk, 0) & ~unpacked(raw)
            if left:
                self._new_failed_rows[chunk] = left
            else:
                self._new_failed_rows.pop(chunk, None)
        for done in snapshot.done:
            self._kinds[done.kind].written(done)


def _in_lots(ids: Iterable[T]) -> Iterator[list[T]]:
    source = iter(ids)
    while some := list(islice(source, _AT_ONCE)):
        yield some


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _kept(message: str) -> str:
    # Half a surrogate pair, as a broken file yields, would keep every further checkpoint from being written.
    return message[:_LENGTH].encode("utf-8", "replace").decode("utf-8")

"""Writes down where a run is: by time, when somebody is in a hurry, and at its ends.

A walk that is asked to writes between two items, and waits for Redis. One that does not get there, since its item or
the wait for its next one takes long, is not waited for: what was done before that item is written beside it. Such a
checkpoint is not as young as it looks, so its age counts from when the item began, and not from when it was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from jobworker.iteration.cursors import written_cursor
from jobworker.iteration.items import Tries
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.keeping import Keeper, Kept
from jobworker.iteration.sink import Sink
from jobworker.iteration.walks import Position
from jobworker.protocol.records import Checkpoint, IterationState, Progress

_FIRST_SECONDS = 1.0  # a run shows itself early, and a worker that dies young repeats little
_LOOK_SECONDS = 1.0  # between two looks at the walk, and so how exactly it is known since when an item is in work
_PATIENCE_SECONDS = 0.05  # for a walk to write by itself what it is asked to


class Pulse:
    """Of one run. All but `hurry` and `due` are for the thread of the event loop.

    ``heard`` is called when a checkpoint beside the walk tells of something, or raises: the walk then has to look.
    """

    def __init__(  # what a checkpoint is made of
        self,
        job: IteratingJob,
        keeper: Keeper,
        position: Position,
        before: IterationState,
        tries: Tries,
        heard: Callable[[Kept | BaseException], None],
    ) -> None:
        self.sink: Sink | None = None
        self.settled: Callable[[], bool] = lambda: True
        self._job = job
        self._keeper = keeper
        self._position = position
        self._before = before
        self._tries = tries
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._seconds = job.checkpoint_seconds or _FIRST_SECONDS  # 0: between two items the walk writes by itself
        self._next = self._began + min(_FIRST_SECONDS, self._seconds)
        position.look = not job.checkpoint_seconds
        self._asked: float | None = None
        self._due = False
        self._writing = asyncio.Lock()
        self._written: Progress | None = None
        self._cursor = before.cursor or written_cursor("", None)
        self._first = self._seen = position.done
        self._looked = self._safe = self._settled = self._began
        self._timer: asyncio.TimerHandle | None = None
        self._beside: asyncio.Task[None] | None = None

    @property
    def due(self) -> bool:
        """Shall the walk write where it is before its next item?"""
        return self._due or not self._job.checkpoint_seconds

    def hurry(self) -> None:
        """Have where the walk is written now, or after its present item at the latest. From any thread."""
        self._due = self._position.look = True
        with suppress(RuntimeError):  # the loop is closed: nobody is left who could be in a hurry
            self._loop.call_soon_threadsafe(self._ask)

    def begin(self) -> None:
        """Look at the walk from now on."""
        self._again()

    def end(self) -> None:
        """Look no more. A checkpoint that is being written goes on; `flush` waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def flush(self, *, wait: bool) -> Kept:
        """Write where the walk is; with ``wait`` for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
            ConfigurationError: the cursor cannot be written.
        """
        async with self._writing:
            return await self._flush(wait=wait)

    async def _flush(self, *, wait: bool) -> Kept:
        now = self._loop.time()
        self._watch(now)
        # A walk that is in an item writes once more behind it: whoever was in a hurry wants to hear of that item.
        self._due = self._due and self._position.busy
        self._asked = None
        cursor, processed = self._position.done
        if self.sink is not None:
            cursor = self.sink.cursor
        self._job.progress.measure(now)
        # The walk may go on meanwhile, beyond the cursor that is written here.
        progress = replace(self._job.progress.snapshot(), processed=processed)
        # RACE asked behind the snapshot: what an item notes that is in work now must not be told before its effects.
        settled = self.settled()
        state = Checkpoint(
            cursor=written_cursor(type(self._job).__name__, cursor) if settled else self._cursor,
            executions=self._before.executions + 1,
            run_seconds=round(self._before.run_seconds + now - self._began, 3),
            progress=progress if settled and self._is_news(progress) else None,
            tries=self._tries.failed,
            age_seconds=max(now - min(self._safe, self._settled), 0.0 if self.sink is None else self.sink.age_seconds),
        )
        try:
            kept = await self._keeper.checkpoint(state, wait=wait)
        finally:
            # Also after a failure: a Redis that is away is not asked again at each item.
            self._next = self._loop.time() + self._seconds
        if kept is not Kept.LATER and settled:
            self._cursor = state.cursor
            self._job.progress.written(progress)
            self._written = progress
        return kept

    def _is_news(self, progress: Progress) -> bool:
        known = self._written
        return (
            known is None
            or (known.processed, known.failed, known.total) != (progress.processed, progress.failed, progress.total)
            or bool(progress.errors or progress.failed_rows or any(each.size for each in progress.done))
        )

    def _watch(self, now: float) -> None:
        """Note since when something is not safe: an item in work began no earlier than the last look that missed it."""
        done = self._position.done
        if self.settled():
            self._settled = now
        if not self._position.busy:
            self._safe = now
        elif done is not self._seen:
            self._safe = max(self._safe, self._looked)
        self._seen, self._looked = done, now

    def _ask(self) -> None:
        if self._timer is not None:
            self._next = self._loop.time()
            self._look()

    def _look(self) -> None:
        now = self._loop.time()
        self._watch(now)
        if self._asked is not None:
            if now >= self._asked + _PATIENCE_SECONDS and not self._writing.locked():
                self._asked = None
                self._next = now + self._seconds
                self._beside = self._loop.create_task(self._write_beside())
        elif now >= self._next:
            self._asked = now
            self._due = self._position.look = True
        self._again()

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        until = self._next if self._asked is None else self._asked + _PATIENCE_SECONDS
        self._timer = self._loop.call_later(min(max(until - now, 0.0), _LOOK_SECONDS), self._look)

    async def _write_beside(self) -> None:
        at = self._position
        if at.busy and at.done is self._first and self._written is None and self._before.cursor is None:
            return  # in the first item of all: there is nothing yet that could be saved
        try:
            kept = await self.flush(wait=False)
        except BaseException as error:
            self._heard(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if kept in {Kept.CANCELLED, Kept.PAUSED}:
                self._heard(kept)

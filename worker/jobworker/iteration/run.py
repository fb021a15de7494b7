"""One run of an iterating job: find the place, walk the items, write the place down, leave when asked.

Between two items it looks at one plain flag and one clock. An async `each_iteration` runs on the event loop; a plain
one runs in a thread for the whole walk, since a change of thread for each item would cost more than most items do.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeVar

import orjson

from jobworker.errors import ConfigurationError, NotHeld
from jobworker.iteration.enumerators import Counted
from jobworker.iteration.enumerators.walking import Interrupted, async_pairs, plain_pairs
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.progress import JobProgress, Ledger
from jobworker.jobs.context import Interruption
from jobworker.protocol.payload import error_message
from jobworker.protocol.records import Checkpoint, IterationState, Wish

T = TypeVar("T")

_FIRST_SECONDS = 1.0  # a run shows itself early, and a worker that dies young repeats little
_MANY_ROWS = 10_000  # rows between two checkpoints, whatever the time: a script call has a size
_BREATH_SECONDS = 0.01  # how long items that never wait may keep the event loop for themselves


class End(Enum):
    """How a run ended; a run that raised did not."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    """Somebody wants it to rest until it is resumed."""


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
_ENDS = {Kept.CANCELLED: End.CANCELLED, Kept.PAUSED: End.PAUSED}


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


InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class Run:
    """Walks one job once.

    ``in_thread`` runs a plain function in a thread that knows the job's context; ``clock`` gives seconds that never go
    back, by which checkpoints fall due.
    """

    def __init__(
        self,
        job: IteratingJob,
        args: Sequence[Any],
        keeper: Keeper,
        interruption: Interruption,
        in_thread: InThread,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._args = args
        self._keeper = keeper
        self._interruption = interruption
        self._in_thread = in_thread
        self._clock = clock
        self._began = clock()
        self._next_flush = self._began + _FIRST_SECONDS
        self._next_rows = _MANY_ROWS
        self._cursor: Any = None
        self._step = threading.Lock()  # cursor and count are one step, also for who looks from outside the thread
        self._before = IterationState()

    async def __call__(self) -> End:
        """Run until the items end, the worker wants to be rid of the job, or somebody cancels or pauses it.

        Raises:
            NotHeld: the job is somebody else's by now; nothing more was written.
            Exception: whatever the job raised; the place of the item that raised was written.
        """
        place = await self._keeper.load()
        if place.state.wish is Wish.PAUSE:
            return End.PAUSED  # it never began, so that no callback is owed
        self._before = place.state
        self._cursor = None if place.state.cursor is None else orjson.loads(place.state.cursor)
        self._job.progress = JobProgress(
            place.processed,
            place.failed,
            place.errors,
            done=place.done,
            rate=place.rate,
            ledger=self._keeper,
            press=self._press,
        )
        self._job.progress.measure(self._began)
        self._next_rows = place.processed + _MANY_ROWS
        await self._call(self._job.on_resume if place.state.executions else self._job.on_start)
        end = End.CANCELLED if place.state.cancelled else await self._walk()
        kept = await self._flush(wait=True)
        if kept is Kept.CANCELLED or (kept is Kept.PAUSED and end is End.INTERRUPTED):
            end = _ENDS[kept]
        if end is End.CANCELLED:
            await self._call(self._job.on_cancel)
        await self._call(self._job.on_stop)
        if end not in {End.INTERRUPTED, End.PAUSED}:
            await self._call(self._job.on_complete)
        return end

    async def _walk(self) -> End:
        enumerator = await self._build()
        if isinstance(enumerator, Counted) and self._job.progress.total is None:
            self._job.progress.total = enumerator.total
        try:
            if inspect.iscoroutinefunction(self._job.each_iteration):
                return await self._walk_async(async_pairs(enumerator))
            loop = asyncio.get_running_loop()
            pairs = plain_pairs(enumerator)
            end: End = await self._in_thread(lambda: self._walk_plain(pairs, loop))
            return end
        except NotHeld:
            raise
        except Interrupted:
            return End.INTERRUPTED
        except asyncio.CancelledError:
            # Cut at the end of its time: there is a moment to write the place down, but none to wait for Redis.
            if self._keeper.held:
                await self._flush(wait=False)
            raise
        except BaseException:
            # The retry begins at the item that raised, not at the last checkpoint by time. Waited for, since the end
            # of the job waits for the same Redis: without its place it would walk items a second time.
            await self._flush(wait=True)
            raise

    async def _walk_async(self, pairs: AsyncIterator[tuple[Any, Any]]) -> End:
        job, progress, interruption, clock = self._job, self._job.progress, self._interruption, self._clock
        record = job.on_error == "record"
        breath = clock()
        try:
            if self._interruption.requested:
                return End.INTERRUPTED
            async for item, cursor in pairs:
                try:
                    await job.each_iteration(item, *self._args)
                except Exception as error:  # the border to the user's code
                    if not record:
                        raise
                    progress.error(f"{type(error).__name__}: {error_message(error)}")
                progress.advance()
                self._cursor = cursor
                if interruption.requested:
                    return End.INTERRUPTED
                now = clock()
                if self._due(now) and (wanted := _ENDS.get(await self._flush(wait=False))):
                    return wanted
                if now - breath > _BREATH_SECONDS:
                    await asyncio.sleep(0)
                    breath = clock()
            return End.COMPLETE
        finally:
            close = getattr(pairs, "aclose", None)
            if close is not None:
                await close()

    def _walk_plain(self, pairs: Iterator[tuple[Any, Any]], loop: asyncio.AbstractEventLoop) -> End:
        job, progress, interruption, clock = self._job, self._job.progress, self._interruption, self._clock
        record = job.on_error == "record"
        try:
            if self._interruption.requested:
                return End.INTERRUPTED
            for item, cursor in pairs:
                if self._keeper.disowned:
                    raise NotHeld("the job is somebody else's by now")
                try:
                    job.each_iteration(item, *self._args)
                except Exception as error:  # the border to the user's code
                    if not record:
                        raise
                    progress.error(f"{type(error).__name__}: {error_message(error)}")
                with self._step:
                    progress.advance()
                    self._cursor = cursor
                if interruption.requested:
                    return End.INTERRUPTED
                if self._due(clock()):
                    flush = asyncio.run_coroutine_threadsafe(self._flush(wait=False), loop)
                    if wanted := _ENDS.get(flush.result()):
                        return wanted
            return End.COMPLETE
        finally:
            close = getattr(pairs, "close", None)
            if close is not None:
                close()

    def hurry(self) -> None:
        """Write a checkpoint after the present item, and obey its answer. May be called from any thread, and again."""
        self._next_flush = float("-inf")

    def _due(self, now: float) -> bool:
        return now >= self._next_flush or self._job.progress.processed >= self._next_rows

    def _press(self) -> None:
        self._next_flush = float("-inf")

    async def _flush(self, *, wait: bool) -> Kept:
        now = self._clock()
        with self._step:
            self._job.progress.measure(now)
            progress = self._job.progress.snapshot()
            cursor = self._written_cursor()
        state = Checkpoint(
            cursor=cursor,
            executions=self._before.executions + 1,
            run_seconds=round(self._before.run_seconds + now - self._began, 3),
            progress=progress,
        )
        kept = await self._keeper.checkpoint(state, wait=wait)
        # Also after a failure: a Redis that is away is not asked again at each item.
        self._next_flush = self._clock() + self._job.checkpoint_seconds
        self._next_rows = self._job.progress.processed + _MANY_ROWS
        if kept is not Kept.LATER:
            self._job.progress.written(progress)
        return kept

    def _written_cursor(self) -> bytes:
        try:
            return orjson.dumps(self._cursor)
        except orjson.JSONEncodeError as error:
            raise ConfigurationError(
                f"{type(self._job).__name__}: the cursor {self._cursor!r:.80} cannot be written as JSON ({error}); let "
                "build_enumerator yield cursors of strings, numbers and lists"
            ) from error

    async def _build(self) -> Any:
        build = self._job.build_enumerator
        if inspect.iscoroutinefunction(build):
            enumerator = await build(*self._args, cursor=self._cursor)
        else:
            # A plain one may ask a database or count a file: not on the event loop.
            enumerator = await self._in_thread(lambda: build(*self._args, cursor=self._cursor))
        if not isinstance(enumerator, Iterable) and not hasattr(enumerator, "__aiter__"):
            raise ConfigurationError(
                f"{type(self._job).__name__}.build_enumerator returned {type(enumerator).__name__}; it must return an "
                "iterator of pairs (item, cursor), as list_items and csv_rows do"
            )
        return enumerator

    async def _call(self, callback: Callable[[], Any]) -> None:
        if inspect.iscoroutinefunction(callback):
            await callback()
        elif getattr(callback, "__func__", None) is not getattr(IteratingJob, callback.__name__):
            await self._in_thread(callback)

"""One run of an iterating job: find the place, walk the items, write the place down, leave when asked.

An async `each_iteration` runs on the event loop; a plain one runs in a thread for the whole walk, since a change of
thread for each item would cost more than most items do.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum
from typing import Any, cast

from jobworker.errors import ConfigurationError, NotHeld
from jobworker.iteration.aborting import Aborted
from jobworker.iteration.cursors import read_cursor
from jobworker.iteration.enumerators import Counted
from jobworker.iteration.enumerators.walking import Interrupted, plain_pairs
from jobworker.iteration.items import Tries, async_work_of, work_of
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.keeping import Keeper, Kept, Place, kept_as
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.pulse import Pulse
from jobworker.iteration.sink import FillsSink, Sink
from jobworker.iteration.store import AsyncStore, Store, TakenBack
from jobworker.iteration.storing import Storing, settled, settled_async
from jobworker.iteration.waiting import Waiting
from jobworker.iteration.walks import Position, Walk
from jobworker.jobs.context import CURRENT, Interruption
from jobworker.protocol.records import Checkpoint, Wish

__all__ = ["End", "InThread", "Keeper", "Kept", "Place", "Run", "kept_as"]


class End(Enum):
    """How a run ended; a run that raised did not."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    """Somebody wants it to rest until it is resumed."""
    MADE_ROOM = "made room"
    """It ran for as long as it may in one go."""
    SPLIT = "split"
    """It was split into slices, and goes on when the last of them has ended."""


_ENDS = {Kept.CANCELLED: End.CANCELLED, Kept.PAUSED: End.PAUSED}
_OVER = {End.COMPLETE, End.CANCELLED}

_STEP_SECONDS = 0.05

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class Run:
    """Walks one job once.

    ``in_thread`` runs a plain function in a thread that knows the job's context; ``max_seconds`` is how long a run may
    take where the job itself does not say.
    """

    def __init__(
        self,
        job: IteratingJob,
        args: Sequence[Any],
        keeper: Keeper,
        interruption: Interruption,
        in_thread: InThread,
        *,
        max_seconds: float | None = None,
    ) -> None:
        self._job = job
        self._args = args
        self._keeper = keeper
        self._interruption = interruption
        self._in_thread = in_thread
        self._max_seconds = job.max_run_seconds or max_seconds
        self._position = Position(None, 0)
        self._pulse: Pulse | None = None
        self._sink: Sink | None = None
        self._storing: Storing | None = None
        self._first = self._over = self._announced = False
        self._tries = Tries()
        self._waiting = Waiting(type(job).__name__)
        self._wanted: End | None = None
        self._error: BaseException | None = None
        self._left = self._hurried = False
        self._context = CURRENT.get()
        self._is_async = inspect.iscoroutinefunction(job.each_iteration)

    async def __call__(self) -> End:
        """Run until the items end, the worker wants to be rid of the job, or somebody cancels or pauses it.

        Raises:
            NotHeld: the job is somebody else's by now; nothing more was written.
            Exception: whatever the job raised; the place of the item that raised was written.
        """
        place = await self._keeper.load()
        if place.state.wish is Wish.PAUSE:
            return End.PAUSED  # it never began, so that no callback is owed
        pulse = self._begin(place)
        room: asyncio.TimerHandle | None = None
        if self._max_seconds is not None:
            room = asyncio.get_running_loop().call_later(self._max_seconds, self._leave, End.MADE_ROOM)
        self._interruption.listeners.add(self._interrupt)
        try:
            end = await self._through(place)
        finally:
            self._interruption.listeners.discard(self._interrupt)
            pulse.end()
            if room is not None:
                room.cancel()
        await self._leave_sink(end)
        kept = await pulse.flush(wait=True)
        if kept is Kept.CANCELLED or (kept is Kept.PAUSED and end not in _OVER):
            end = _ENDS[kept]
            await self._leave_sink(end)
        return end if self._over else await self._call_last(end)

    def hurry(self) -> None:
        """Write a checkpoint, after the present item at the latest, and obey what it answers. From any thread."""
        self._hurried = True
        if self._pulse is not None:
            self._pulse.hurry()

    def _begin(self, place: Place) -> Pulse:
        position = self._position = Position(read_cursor(place.state.cursor), place.processed)
        self._tries = Tries(place.state.tries)
        pulse = self._pulse = Pulse(self._job, self._keeper, position, place.state, self._tries, self._hear)
        if isinstance(self._job, FillsSink):
            self._sink = pulse.sink = self._job.open_sink(position.done[0], self._args)
        self._first = not place.state.executions
        store = self._job.checkpoint_store()
        if store is not None:
            self._storing = Storing(store, self._in_thread, is_async=self._is_async)
            pulse.settled = lambda: store.settled
        self._take_stock(place)
        return pulse

    def _take_stock(self, place: Place) -> None:
        progress = self._job.progress = JobProgress(
            place.processed,
            place.failed,
            place.errors,
            done=place.done,
            rate=place.rate,
            ledger=self._keeper,
            press=cast("Pulse", self._pulse).hurry,
        )
        progress.measure(asyncio.get_running_loop().time())

    async def _through(self, place: Place) -> End:
        """All items; where the job's own store takes them back to its last commit, from there on again."""
        while True:
            try:
                return await self._items(place)
            except TakenBack as back:
                found = await self._after(back)
            if isinstance(found, End):
                return found
            place = found

    async def _after(self, back: TakenBack) -> Place | End:
        """Wait a little; where the job stands then, if it is still this worker's and not to end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + cast("Storing", self._storing).pause(back)
        while (rest := until - loop.time()) > 0:  # short steps: the wish to end is a plain flag
            if (end := self._asked_to_end()) is not None:
                return end
            await asyncio.sleep(min(rest, _STEP_SECONDS))
        place = await self._keeper.load()
        self._take_stock(place)
        return place

    async def _items(self, place: Place) -> End:
        pulse = cast("Pulse", self._pulse)
        try:
            if self._storing is not None:
                await self._load(self._storing, place)
                if self._over:
                    return End.COMPLETE
            if place.state.cancelled:
                await self._announce()
                return End.CANCELLED
            enumerator = await (self._build() if self._sink is None else self._build_around(self._sink))
            await self._announce()
        except Aborted:
            return End.COMPLETE
        pulse.begin()
        if self._hurried:
            pulse.hurry()  # RACE what is wanted of the job may have come behind the look at where it stands
        try:
            return await self._walk(enumerator, None if self._storing is None else self._storing.store)
        except (NotHeld, TakenBack):
            raise
        except Aborted:
            return End.COMPLETE
        except Interrupted:
            return self._asked_to_end() or End.INTERRUPTED
        except asyncio.CancelledError:
            # Cut at the end of its time: there is a moment to write the place down, but none to wait for Redis.
            self._left = self._position.look = True
            if self._keeper.held:
                await pulse.flush(wait=False)
            raise
        except BaseException:
            # The retry begins at the item that raised, not at the last checkpoint by time. Waited for, since the end
            # of the job waits for the same Redis: without its place it would walk items a second time.
            await self._leave_sink(End.INTERRUPTED)
            await pulse.flush(wait=True)
            raise

    async def _load(self, storing: Storing, place: Place) -> None:
        """Begin where the job's own store says, and tell Redis what only the store knows."""
        found = await storing.load(place)
        if found.cursor is not None and found.progress is not None and found.processed != place.processed:
            before = place.state
            known = Checkpoint(found.cursor, before.executions, before.run_seconds, found.progress, before.tries)
            await self._keeper.checkpoint(known, wait=True)
            self._take_stock(await self._keeper.load())
        self._first, self._over = not found.began, found.over
        self._position.done = (read_cursor(found.cursor), found.processed)
        self._job.progress.processed = found.processed

    async def _build(self) -> Any:
        build, cursor = self._job.build_enumerator, self._position.done[0]
        if inspect.iscoroutinefunction(build):
            enumerator = await build(*self._args, cursor=cursor)
        else:
            # A plain one may ask a database or count a file: not on the event loop.
            enumerator = await self._in_thread(lambda: build(*self._args, cursor=cursor))
        if not isinstance(enumerator, Iterable) and not hasattr(enumerator, "__aiter__"):
            raise ConfigurationError(
                f"{type(self._job).__name__}.build_enumerator returned {type(enumerator).__name__}; it must return an "
                "iterator of pairs (item, cursor), as list_items and csv_rows do, and an empty list where there is "
                "nothing to do"
            )
        return enumerator

    async def _build_around(self, sink: Sink) -> Any:
        """Begin where the sink says, and let it work between the items."""
        progress = self._job.progress
        cursor = await self._in_thread(lambda: sink.begin(progress))
        self._position.done = (cursor, progress.processed)
        return sink.around(await self._build(), cast("Pulse", self._pulse).flush, self._in_thread)

    async def _leave_sink(self, end: End) -> None:
        if self._sink is not None:
            sink, cursor = self._sink, self._position.done[0]
            await self._in_thread(sink.discard if end in _OVER else lambda: sink.put_aside(cursor))

    async def _announce(self) -> None:
        """Say that the run begins; that it did is written down before its first item, if the job wants to be told."""
        if self._announced:
            return
        await self._call_together([self._job.on_start if self._first else self._job.on_resume])
        self._announced = True
        if _is_own(self._job.on_start) or _is_own(self._job.on_resume):
            await cast("Pulse", self._pulse).flush(wait=False)

    async def _call_last(self, end: End) -> End:
        """The callbacks at the end of a run. How it ended: they may not come to pass."""
        job, over = self._job, end in _OVER
        callbacks = [job.on_cancel] if end is End.CANCELLED else []
        callbacks += [job.on_stop, job.on_complete] if over else [job.on_stop]
        place: Place | None = None
        while True:
            try:
                if place is not None:
                    await self._load(cast("Storing", self._storing), place)
                if not self._over:  # or the commit came to pass, and its answer was lost
                    await self._call_together(callbacks, over=over)
                return end
            except TakenBack as back:
                found = await self._after(back)
            if isinstance(found, End):
                return found if over else end
            place = found

    async def _call_together(self, callbacks: Sequence[Callable[[], Any]], *, over: bool = False) -> None:
        """With a store of the job's own their effects are one step."""

        async def call() -> None:
            for each in callbacks:
                await self._call(each)

        if self._storing is None:
            await call()
        elif over or any(map(_is_own, callbacks)):
            await self._storing.around(call, over=over)

    async def _walk(self, enumerator: Any, store: Store | AsyncStore | None) -> End:
        if isinstance(enumerator, Counted) and self._job.progress.total is None:
            self._job.progress.total = enumerator.total
        walk = Walk(self._job, self._args, self._position, self._interruption, End.COMPLETE)
        if self._is_async:
            kept = cast("AsyncStore | None", store)
            work = async_work_of(self._job, self._args, kept, self._tries)
            # A sink works between the items too, and what it is at then must not be cut.
            lots = self._waiting.lots(enumerator, ends=self._sink is None)
            return await settled_async(kept, walk.on_loop(lots, work, lambda: self._look_async(kept)))
        loop = asyncio.get_running_loop()
        pairs, plain = plain_pairs(enumerator), cast("Store | None", store)

        def walk_here() -> End:
            work = work_of(self._job, self._args, plain, self._tries)
            return settled(plain, lambda: walk.plain(pairs, work, lambda: self._look(plain, loop)))

        end: End = await self._in_thread(walk_here)
        return end

    def _look(self, store: Store | None, loop: asyncio.AbstractEventLoop) -> End | None:
        """Between two items of a plain job, in its thread: shall it end, or write where it is?"""
        end = self._asked_to_end()
        pulse = cast("Pulse", self._pulse)
        if end is None and pulse.due:
            if store is not None:
                store.settle()
            if self._sink is not None:
                self._sink.put_aside(self._position.done[0])
            flush = asyncio.run_coroutine_threadsafe(pulse.flush(wait=False), loop)
            return _ENDS.get(flush.result())
        return end

    async def _look_async(self, store: AsyncStore | None) -> End | None:
        end = self._asked_to_end()
        pulse = cast("Pulse", self._pulse)
        if end is None and pulse.due:
            if store is not None:
                await store.settle()
            await self._leave_sink(End.INTERRUPTED)
            return _ENDS.get(await pulse.flush(wait=False))
        return end

    def _asked_to_end(self) -> End | None:
        # Before the looks: what is set during them is seen after the next item.
        self._position.look = not self._job.checkpoint_seconds
        if self._left or self._keeper.disowned:
            raise NotHeld("the job is somebody else's by now")
        if self._error is not None:
            raise self._error
        if self._interruption.requested and self._wanted in {None, End.MADE_ROOM}:
            return End.INTERRUPTED
        return self._wanted

    def _interrupt(self) -> None:
        """The worker wants to be rid of the job."""
        self.hurry()
        self._waiting.end(patient=True)

    def _hear(self, told: Kept | BaseException) -> None:
        """A checkpoint beside the walk told of something."""
        if isinstance(told, Kept):
            self._leave(_ENDS[told])
            return
        self._error = told
        self._position.look = True

    def _leave(self, end: End) -> None:
        """Let the run end before its next item; one that waits for that ends its wait."""
        if self._wanted is None or end is not End.MADE_ROOM:
            self._wanted = end
        if self._context is not None:
            self._context.leaving = True
        self._position.look = True
        self._waiting.end(patient=end is End.MADE_ROOM)

    async def _call(self, callback: Callable[[], Any]) -> None:
        if inspect.iscoroutinefunction(callback):
            await callback()
        elif _is_own(callback):
            await self._in_thread(callback)


def _is_own(callback: Callable[[], Any]) -> bool:
    """Does the job define it? What the base class has does nothing."""
    return getattr(callback, "__func__", None) is not getattr(IteratingJob, callback.__name__)

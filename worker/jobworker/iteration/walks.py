"""The walk over the items of a job: the loop in which everything else is paid for.

Between two items it looks at two plain flags. What has to be done there, and who wants it, is the run's to know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from jobworker.iteration.enumerators.walking import closed
from jobworker.iteration.items import AsyncWork, Work
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.pairs import check_first
from jobworker.jobs.context import Interruption

E = TypeVar("E")

_BREATH_SECONDS = 0.01  # how long items that never wait may keep the event loop for themselves


class Position:
    """Where a walk is. Each attribute is written by the walk alone and read from anywhere, but `look`.

    ``done`` is the cursor behind the last item that is done, and how many are: one value, so that nobody who looks from
    another thread sees half a step. ``busy``: an item is being worked on. ``look``: set by whoever wants the walk to
    look up before its next item.
    """

    __slots__ = ("busy", "done", "look")

    def __init__(self, cursor: Any, processed: int) -> None:
        self.done: tuple[Any, int] = (cursor, processed)
        self.busy = False
        self.look = False


class Walk(Generic[E]):
    """Walks over pairs of an item and the cursor behind it; ``done`` is what it returns when there are no more."""

    __slots__ = ("_args", "_done", "_first", "_interruption", "_job", "_position")

    def __init__(
        self, job: IteratingJob, args: Sequence[Any], position: Position, interruption: Interruption, done: E
    ) -> None:
        self._job = job
        self._args = args
        self._position = position
        self._interruption = interruption
        self._done = done
        # To unpack the arguments for each item takes longer than all that is done between two of them.
        self._first = args[0] if args else None

    def plain(self, pairs: Iterator[tuple[Any, Any]], work: Work | None, look: Callable[[], E | None]) -> E:
        """All items in this thread; ``look`` is called between two of them when somebody wants it to."""
        at, progress, interruption = self._position, self._job.progress, self._interruption
        each, args, number, first = self._job.each_iteration, self._args, len(self._args), self._first
        done = at.done[1]
        try:
            if interruption.requested and (end := look()) is not None:
                return end
            for lot in self._lots(pairs):
                for item, cursor in lot:
                    at.busy = True
                    if work is not None:
                        work(item, cursor)
                    elif number == 1:
                        each(item, first)
                    elif not number:
                        each(item)
                    else:
                        each(item, *args)
                    done += 1
                    progress.processed = done
                    at.done = cursor, done
                    at.busy = False
                    if (at.look or interruption.requested) and (end := look()) is not None:
                        return end
            return self._done
        finally:
            at.busy = False
            closed(pairs)

    def _lots(self, pairs: Iterator[tuple[Any, Any]]) -> Iterator[Iterable[tuple[Any, Any]]]:
        """The first pair, checked, and all others as they come: so nothing is asked of each of them."""
        for pair in pairs:
            check_first(type(self._job).__name__, pair)
            yield (pair,)
            del pair  # it may be large, and this waits until the walk ends
            yield pairs
            return

    async def on_loop(
        self,
        lots: AsyncGenerator[Iterable[tuple[Any, Any]], None],
        work: AsyncWork | None,
        look: Callable[[], Awaitable[E | None]],
    ) -> E:
        """The same on the event loop, which others get from time to time also where no item ever waits."""
        at, progress, interruption, clock = self._position, self._job.progress, self._interruption, time.monotonic
        each, args, number, first = self._job.each_iteration, self._args, len(self._args), self._first
        done = at.done[1]
        breath = clock() + _BREATH_SECONDS
        try:
            if interruption.requested and (end := await look()) is not None:
                return end
            async for lot in lots:
                for item, cursor in lot:
                    at.busy = True
                    if work is not None:
                        await work(item, cursor)
                    elif number == 1:
                        await each(item, first)
                    elif not number:
                        await each(item)
                    else:
                        await each(item, *args)
                    done += 1
                    progress.processed = done
                    at.done = cursor, done
                    at.busy = False
                    if (at.look or interruption.requested) and (end := await look()) is not None:
                        return end
                    if clock() > breath:
                        await asyncio.sleep(0)
                        breath = clock() + _BREATH_SECONDS
            return self._done
        finally:
            at.busy = False
            await lots.aclose()

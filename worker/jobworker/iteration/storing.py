"""How a run speaks with its job's own store, plain or async: loads, surrounds callbacks, settles, and tries again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from jobworker.errors import NotHeld
from jobworker.iteration.aborting import Aborted
from jobworker.iteration.keeping import Place
from jobworker.iteration.store import AsyncStore, Store, Stored, TakenBack
from jobworker.jobs.context import CURRENT

E = TypeVar("E")
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]

log = logging.getLogger("jobworker.jobs")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_SETTLED_AFTER = (Exception, Aborted, asyncio.CancelledError)  # whatever else comes out of a walk is like a SIGKILL


class Storing:
    """Of one run."""

    def __init__(self, store: Store | AsyncStore, in_thread: InThread, *, is_async: bool) -> None:
        self.store = store
        self._in_thread = in_thread
        self._is_async = is_async
        self._pause = _FIRST_PAUSE
        self._trouble_since: float | None = None
        self._processed = 0

    async def load(self, place: Place) -> Stored:
        """Take the job, and tell where it stands.

        Raises:
            TakenBack: not now.
        """
        if self._is_async:
            found = await cast("AsyncStore", self.store).load(place)
        else:
            plain = cast("Store", self.store)
            found = await self._in_thread(lambda: plain.load(place))
        if found.processed > self._processed:
            self._trouble_since, self._pause = None, _FIRST_PAUSE
        self._processed = found.processed
        return found

    async def around(self, callbacks: Callable[[], Coroutine[Any, Any, None]], *, over: bool) -> None:
        """Call them; their effects are one step."""
        if self._is_async:
            async with cast("AsyncStore", self.store).callbacks(over=over):
                await callbacks()
            return
        surrounding = cast("Store", self.store).callbacks(over=over)
        await self._in_thread(surrounding.__enter__)
        try:
            await callbacks()
        except BaseException as error:
            raised = error
            await self._in_thread(lambda: surrounding.__exit__(type(raised), raised, raised.__traceback__))
            raise
        await self._in_thread(lambda: surrounding.__exit__(None, None, None))

    def pause(self, back: TakenBack) -> float:
        """How many seconds to wait before the next try.

        Raises:
            BaseException: the error of ``back``, where trying again makes no sense or went on for too long.
        """
        if not back.again:
            raise back.error
        now = asyncio.get_running_loop().time()
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since > self.store.patience_seconds:
            raise back.error
        pause, self._pause = self._pause * random.uniform(0.5, 1.0), min(2 * self._pause, _LONGEST_PAUSE)
        context = CURRENT.get()
        log.warning("%s; the job goes on there in %.2f s", back, pause, extra={} if context is None else context.fields)
        return pause


def settled(store: Store | None, walk: Callable[[], E]) -> E:
    """Walk, and leave what was done in the job's own store, unless the job is somebody else's by now."""
    if store is None:
        return walk()
    try:
        try:
            end = walk()
        except NotHeld:
            raise
        except _SETTLED_AFTER:
            store.settle()
            raise
        store.settle()
        return end
    finally:
        store.close()


async def settled_async(store: AsyncStore | None, walk: Awaitable[E]) -> E:
    """The same of an async job."""
    if store is None:
        return await walk
    try:
        try:
            end = await walk
        except NotHeld:
            raise
        except _SETTLED_AFTER:
            await store.settle()
            raise
        await store.settle()
        return end
    finally:
        await store.close()

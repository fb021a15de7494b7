"""Runs the units of work of one fetcher in free slots of the worker, beside its Redis queues."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jobworker.jobs.fetcher import Fetcher, UnitOfWork
from jobworker.protocol.records import Entry, Finished, Number, Outcome
from jobworker.runtime.executor import Executor
from jobworker.runtime.life import Life
from jobworker.runtime.running import Ended
from jobworker.runtime.state import WorkerState

log = logging.getLogger("jobworker.fetch")

_FULL_SECONDS = 0.05  # between two looks for a free slot
_AGAIN_SECONDS = 1.0  # after a fetcher or a unit raised
_CANCEL_SECONDS = 5.0  # for a fetcher to leave


class Units:
    """``untold`` counts units whose job has ended here and whose fetcher does not know it yet."""

    def __init__(self, fetcher: Fetcher, life: Life, state: WorkerState, executor: Executor) -> None:
        self._fetcher = fetcher
        self._name = type(fetcher).__qualname__
        self._life = life
        self._state = state
        self._executor = executor
        self._number = -1  # numbers below zero are not those of a working set
        self._settling: set[asyncio.Task[None]] = set()

    @property
    def untold(self) -> int:
        """See the class."""
        return len(self._settling)

    async def run(self) -> None:
        """Take and run, until cancelled."""
        while True:
            free = self._executor.free if self._state.taking else 0
            if not free:
                await asyncio.sleep(_FULL_SECONDS)
                continue
            try:
                units = await self._retrieve(free)
            except asyncio.CancelledError:
                raise
            except Exception:  # the border to the user's code
                log.exception("the fetcher failed: it is asked again", extra={"fetcher": self._name})
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for unit in units:
                self._begin(unit)

    async def _retrieve(self, count: int) -> list[UnitOfWork]:
        """Ask the fetcher, and stop asking when the worker stops to take jobs."""

        async def ask() -> list[UnitOfWork]:
            return list(await self._fetcher.retrieve(count))

        asking = asyncio.create_task(ask(), name=f"fetcher {self._name}")
        try:
            while not asking.done() and self._state.taking:
                await asyncio.wait({asking}, timeout=_FULL_SECONDS)
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking}, timeout=_CANCEL_SECONDS)
        # RACE what it had in its hands when it was cancelled it may return all the same: that goes back.
        return [] if asking.cancelled() or not asking.done() else asking.result()

    def _begin(self, unit: UnitOfWork) -> None:
        entry = Entry(Number(self._number), unit.queue, round(time.time() * 1000), unit.payload)
        self._number -= 1
        ended = self._executor.accept_one(entry, lambda end: self._settle(unit, end)) if self._state.taking else False
        if not ended:
            self._settle(unit, None)

    def _settle(self, unit: UnitOfWork, end: Ended | None) -> None:
        task = asyncio.create_task(self._tell(unit, end))
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self._state.wake.set()

    async def _tell(self, unit: UnitOfWork, end: Ended | None) -> None:
        if end is None or end.back:
            await self._until_done("give back", unit.give_back)
            return
        finished = end.finished
        if finished is not None:
            await self._until_done("keep", lambda: self._keep(finished))
        await self._until_done("acknowledge", unit.acknowledge)

    async def _keep(self, finished: Finished) -> None:
        """Write a failed job where people look for it, before its fetcher forgets it."""
        redis, keys = self._life.redis, self._life.keys
        name = {Outcome.RETRY: keys.retry, Outcome.DEAD: keys.dead}.get(finished.outcome)
        if name is not None:
            await redis.zadd(name, {finished.payload: finished.score})

    async def _until_done(self, what: str, step: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await step()
            except asyncio.CancelledError:
                raise
            except Exception:  # the border to the user's code, and to a Redis that is away
                log.exception(
                    "a unit of work cannot be told of its end: tried again", extra={"fetcher": self._name, "step": what}
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

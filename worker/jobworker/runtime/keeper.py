"""Keeps the place of an iterating job in Redis, through outages and through new lives of the worker.

And hears what somebody wants of the job meanwhile, and lays it aside if that is to rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from jobworker.errors import ConfigurationError, NotHeld, StaleEpoch
from jobworker.iteration.run import Kept, Place, kept_as
from jobworker.protocol import control, places, slices
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Checkpoint, DoneIds, Number, Outcome
from jobworker.protocol.scripts import WorkerScripts
from jobworker.protocol.slices import Slice, Split
from jobworker.runtime import retries
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.running import Running
from jobworker.runtime.tracking import Tracking
from jobworker.runtime.wishes import Wishes

T = TypeVar("T")

_AGAIN_SECONDS = 0.2  # between two looks at whether Redis or a new life is there


class RedisKeeper:
    """The place of one running job. Without ``tracking`` wishes are heard at checkpoints only."""

    __slots__ = ("_life", "_link", "_run", "_tracking")

    def __init__(self, life: Life, link: Link, run: Running, tracking: Tracking | None = None) -> None:
        self._life = life
        self._link = link
        self._run = run
        self._tracking = tracking

    @property
    def disowned(self) -> bool:
        """True once the job is somebody else's, or cut: its thread shall do no more."""
        return self._run.disowned or self._run.cut

    @property
    def held(self) -> bool:
        """Is it still this worker's, so that a checkpoint counts?"""
        return not self._run.disowned

    async def load(self) -> Place:
        """Where the job stands; waits for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        begun = await self._held(places.begin)
        return Place(begun.state, begun.processed, begun.failed, begun.errors, begun.done, begun.rate)

    async def look_up(self, kind: str, chunks: Sequence[int], texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        """What is done of these ids; waits for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        redis = self._life.redis

        async def look(_: WorkerScripts, keys: Keys, __: Number, jid: str) -> tuple[list[int], list[bool]]:
            return await places.look_up(redis, keys, jid, kind, chunks, texts)

        return await self._held(look)

    async def note_done(self, done: Sequence[DoneIds]) -> None:
        """Write at once that ids are done; waits for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
        """

        async def note(scripts: WorkerScripts, keys: Keys, number: Number, jid: str) -> None:
            await places.note_done(scripts, keys, number, jid, done)

        await self._held(note)

    async def _held(self, step: Callable[[WorkerScripts, Keys, Number, str], Awaitable[T]]) -> T:
        """What a step of whoever holds the job answers, through outages and into the next life of the worker."""
        jid = self._run.payload.jid
        while True:
            if self._run.disowned:
                raise NotHeld(f"job {jid} has another holder by now")
            scripts = self._life.scripts
            try:
                async with self._life.keeping:
                    return await step(scripts, self._life.keys, self._run.entry.number, jid)
            except StaleEpoch:
                self._life.ended(scripts)
            except AWAY as error:
                self._bear(error)
            await self._pause()

    def _bear(self, error: Exception) -> None:
        """Wait the error out, unless it is one of this job alone, and for good."""
        if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
            key = self._life.keys.iteration(self._run.payload.jid)
            raise ConfigurationError(
                f"{key}, or another key with its jid, holds something of another kind: another application writes "
                f"there: delete the key, and give jobworker a Redis or a key prefix of its own ({error})"
            ) from error
        self._link.lost(error)

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:
        """Write it down. A life that ended meanwhile is waited for: the next one may still hold the job.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        while True:
            if self._run.disowned:
                raise NotHeld(f"job {self._run.payload.jid} has another holder by now")
            scripts = self._life.scripts
            try:
                async with self._life.keeping:
                    jid, number = self._run.payload.jid, self._run.entry.number
                    wish = await places.checkpoint(scripts, self._life.keys, number, jid, state)
            except StaleEpoch:
                self._life.ended(scripts)
                await self._pause()
                continue
            except AWAY as error:
                self._bear(error)
                if not wait:
                    return Kept.LATER
                await self._pause()
                continue
            return kept_as(wish)

    @contextmanager
    def listening(self, hurry: Callable[[], None]) -> Iterator[None]:
        """Call ``hurry`` when somebody wants the job to cancel or to pause."""
        if self._tracking is None:
            yield
            return
        wishes = Wishes(self._tracking, self._life.keys.iteration(self._run.payload.jid), hurry)
        try:
            yield
        finally:
            wishes.end()

    async def park(self) -> bool:
        """Lay the job aside, since it shall rest; waits for as long as Redis is away.

        False if it shall go on by now, and went back to its queue. Either way it is not this worker's any more.

        Raises:
            NotHeld: the job is somebody else's by now.
        """

        async def lay_aside(scripts: WorkerScripts, keys: Keys, _: Number, jid: str) -> bool:
            redis = self._life.redis
            return await control.park(redis, keys, scripts.worker, scripts.epoch, self._run.entry, jid)

        try:
            return await self._held(lay_aside)
        except NotHeld:
            if self._run.disowned:
                raise
            return True  # in this life nobody else lets go of it: an earlier call was carried out, its answer lost

    async def split_before(self) -> Split | None:
        """What keeps the job from being split: that it was, or that somebody cancelled or paused it.

        Raises:
            NotHeld: the job is somebody else's by now.
        """
        redis = self._life.redis

        async def look(_: WorkerScripts, keys: Keys, __: Number, jid: str) -> Split | None:
            return await slices.split_before(redis, keys, jid)

        return await self._held(look)

    async def split(self, values: Sequence[Any], total: int | None) -> Split:
        """Enqueue the slices, unless that was done before; waits for as long as Redis is away.

        Raises:
            NotHeld: the job is somebody else's by now.
            ArgumentsNotJSON: a value cannot travel as JSON.
        """

        async def enqueue(scripts: WorkerScripts, keys: Keys, number: Number, _: str) -> Split:
            whole = self._run.payload.fetched_from(self._run.entry.queue)
            return await slices.split(scripts, keys, number, whole, values, total)

        return await self._held(enqueue)

    async def slice_over(self, part: Slice, *, cancelled: bool, kept_seconds: int) -> int:
        """Tell that a slice has ended; waits for as long as Redis is away. How many are left of the whole job.

        Raises:
            NotHeld: the slice is somebody else's by now.
        """

        async def tell(scripts: WorkerScripts, keys: Keys, number: Number, jid: str) -> int:
            return await slices.over(scripts, keys, number, jid, part, cancelled=cancelled, kept_seconds=kept_seconds)

        return await self._held(tell)

    def kept_after(self, error: Exception) -> bool:
        """Will the job be kept after it raised this? Its own rules decide, as they will once more when it has ended."""
        options = self._run.definition.options
        return retries.decide(self._run.payload, error, time.time(), options).outcome is not Outcome.FAILED

    @staticmethod
    async def _pause() -> None:
        await asyncio.sleep(_AGAIN_SECONDS)

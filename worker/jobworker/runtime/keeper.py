"""Keeps the place of an iterating job in Redis, through outages and through new lives of the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

import orjson

from jobworker.errors import NotHeld, StaleEpoch
from jobworker.iteration.run import Kept, Place, kept_as
from jobworker.protocol.records import Checkpoint
from jobworker.protocol.scripts import WorkerScripts
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.running import Running

_AGAIN_SECONDS = 0.2  # between two looks at whether Redis or a new life is there


class RedisKeeper:
    """The place of one running job."""

    __slots__ = ("_life", "_link", "_run")

    def __init__(self, life: Life, link: Link, run: Running) -> None:
        self._life = life
        self._link = link
        self._run = run

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
        jid = self._run.payload.jid
        while True:
            if self._run.disowned:
                raise NotHeld(f"job {jid} has another holder by now")
            scripts = self._life.scripts
            try:
                async with self._life.keeping:
                    place = await self._place(jid)
                    # RACE rescued while Redis was out of reach: the job may be complete elsewhere and its place gone,
                    # and it would begin anew here. Asked after the place was read, so it was read by the holder.
                    if await self._goes_on(scripts):
                        return place
            except AWAY as error:
                self._link.lost(error)
            else:
                self._life.ended(scripts)
            await self._pause()

    async def _goes_on(self, scripts: WorkerScripts) -> bool:
        record = self._life.keys.record(scripts.worker)
        epoch = await cast("Awaitable[bytes | None]", self._life.redis.hget(record, "epoch"))
        return epoch == scripts.epoch.encode()

    async def _place(self, jid: str) -> Place:
        redis, keys = self._life.redis, self._life.keys
        state = await self._life.fleet.iteration_state(jid)
        if state.cursor is None:
            return Place(state)
        processed, failed = await cast(
            "Awaitable[list[bytes | None]]", redis.hmget(keys.progress(jid), ["processed", "failed"])
        )
        raw = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.errors(jid)))
        errors = {int(row): tuple(orjson.loads(messages)) for row, messages in raw.items()}
        return Place(state, int(processed or 0), int(failed or 0), errors)

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
                    wish = await scripts.checkpoint(self._run.entry.number, self._run.payload.jid, state)
            except StaleEpoch:
                self._life.ended(scripts)
                await self._pause()
                continue
            except AWAY as error:
                self._link.lost(error)
                if not wait:
                    return Kept.LATER
                await self._pause()
                continue
            return kept_as(wish)

    @staticmethod
    async def _pause() -> None:
        await asyncio.sleep(_AGAIN_SECONDS)

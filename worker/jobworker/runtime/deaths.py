"""Calls death handlers: for jobs that failed for good, and for those that workers died of.

A notice lies in Redis from the step that ended the job until its handlers have run, so they run at least once: a worker
that dies in between leaves it to the next. Twice if they take longer than a minute. Any worker that knows the job may
call them, which is how handlers hear of poison that was found by the operator.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis

from jobworker.errors import MalformedPayload
from jobworker.jobs.definition import DeathHandler
from jobworker.jobs.registry import Registry
from jobworker.protocol import payload as payloads
from jobworker.protocol.deaths import DeadJob
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload
from jobworker.protocol.scripts import Script
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.threads import Threads

log = logging.getLogger("jobworker.deaths")

CLAIM = Script("claim")

LEASE_SECONDS = 60.0  # after which others call the handlers of a death that a worker took upon itself
_AT_ONCE = 8  # deaths whose handlers run at the same time
_READ = 100
_FORGOTTEN_SECONDS = 7 * 24 * 3600  # a notice of a job that no worker knows; the job stays in the dead set


class Deaths:
    """The handlers of one application."""

    def __init__(self, redis: Redis, keys: Keys, registry: Registry, link: Link) -> None:
        self._redis = redis
        self._keys = keys
        self._registry = registry
        self._link = link
        self._threads = Threads()
        self._looked = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Some deaths wait."""
        self._looked.set()

    async def run(self) -> None:
        """Call handlers whenever deaths wait for them, until cancelled."""
        try:
            while True:
                await self._looked.wait()
                self._looked.clear()
                try:
                    await self._handle_waiting()
                except AWAY as error:
                    self._link.lost(error)
        finally:
            for task in self._running:
                task.cancel()

    async def _handle_waiting(self) -> None:
        now = time.time()
        await self._redis.zremrangebyscore(self._keys.deaths, "-inf", now - _FORGOTTEN_SECONDS)
        waiting = await cast(
            "Awaitable[list[tuple[bytes, float]]]",
            self._redis.zrangebyscore(self._keys.deaths, "-inf", now, start=0, num=_READ, withscores=True),
        )
        for notice, score in waiting:
            try:
                job = payloads.parse(notice)
            except MalformedPayload:
                await self._redis.zrem(self._keys.deaths, notice)  # not one of ours, and nobody could be told of it
                continue
            if not self._concerns(job):
                continue
            await self._room.acquire()
            if await CLAIM(self._redis, [self._keys.deaths], [repr(score), notice, int(LEASE_SECONDS)]):
                task = asyncio.create_task(self._handle(notice, job), name="death handlers")
                self._running.add(task)
                task.add_done_callback(self._done)
            else:
                self._room.release()
        if len(waiting) == _READ:
            self._looked.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()

    def _concerns(self, job: Payload) -> bool:
        """Is it for this application? One that nobody defines is for whoever found so, and has handlers for all."""
        if self._registry.find(job.job_class) is not None:
            return True
        return bool(self._registry.death_handlers) and job.extra.get("error_class") == "UnknownJob"

    async def _handle(self, notice: bytes, job: Payload) -> None:
        dead = DeadJob.of(job)
        definition = self._registry.find(job.job_class)
        own = None if definition is None else definition.options.retries_exhausted
        for handler in [*([own] if own is not None else []), *self._registry.death_handlers]:
            await self._call(handler, dead)
        try:
            await self._redis.zrem(self._keys.deaths, notice)
        except AWAY as error:
            self._link.lost(error)  # they will be called once more

    async def _call(self, handler: DeathHandler, dead: DeadJob) -> None:
        try:
            if inspect.iscoroutinefunction(handler):
                await handler(dead)
            else:
                await self._threads.call(lambda: handler(dead))
        except Exception:  # the border to the user's code
            log.exception(
                "a death handler raised; the other handlers are called all the same, this one is not called again",
                extra={
                    "handler": getattr(handler, "__qualname__", repr(handler)),
                    "jid": dead.jid,
                    "class": dead.job_class,
                },
            )

"""A process that runs jobs, as one of several of a pod: what Redis knows is the pod, under one identity and one epoch.

Jobs of all of them lie in one working set; each counts from a number of its own on, so whose they are can be read off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobworker.app import App
from jobworker.client.connection import connect
from jobworker.protocol.processes import hide, show
from jobworker.protocol.records import Entry, Epoch
from jobworker.protocol.scripts import WorkerScripts
from jobworker.runtime.heartbeat import Heartbeat, obey
from jobworker.runtime.life import Life
from jobworker.runtime.process import Process
from jobworker.runtime.settings import Settings
from jobworker.runtime.state import WorkerState
from jobworker.swarm.messages import Channel, Order, Report, Word, end_without_parent
from jobworker.swarm.numbers import first_number, owner

log = logging.getLogger("jobworker.worker")

_SHOWN_WITHIN_SECONDS = 1.0


class SharedLife(Life):
    """A life that another process begins and keeps up. ``number`` is the child's."""

    def __init__(self, number: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.first_number = first_number(number)
        self._child = number
        self._word: Word | None = None
        self._news = asyncio.Event()

    def tell(self, word: Word) -> None:
        """The pod's speaker has said something; nothing about lives while it has none."""
        if not word.lives:
            return
        self._word = word
        self.known_alive_at = word.alive_at
        self._news.set()
        if self.registered and word.lives[-1][0] != self.scripts.epoch:
            self.ended(self.scripts)

    async def begin(self, held: Sequence[Entry] = ()) -> None:
        """Wait for the pod's new life, and hold in it what runs here and what Redis forgot."""
        word = await self._newer()
        epoch = Epoch(word.lives[-1][0])
        scripts = WorkerScripts(self.redis, self.keys, self.worker, epoch, self.scripts.fleet, self._dead_set)
        if held:
            await scripts.hold(held)
        self.scripts = scripts
        self.stale = False
        self.registered = True
        self._state.hear(word.quiet)

    async def forgotten(self) -> bool:
        """Did Redis lose its data since the life that this process knew?"""
        lives = (await self._newer()).lives
        epochs = [epoch for epoch, _ in lives]
        since = epochs.index(self.scripts.epoch) + 1 if self.scripts.epoch in epochs else 0
        # Once is enough: what it forgot then, nobody can have been given since.
        return any(forgotten for _, forgotten in lives[since:])

    async def held(self) -> Sequence[Entry]:
        """Of what the pod holds, what this process does."""
        return [entry for entry in await super().held() if owner(entry.number) == self._child]

    async def _newer(self) -> Word:
        while self._word is None or self._word.lives[-1][0] == self.scripts.epoch:
            self._news.clear()
            await self._news.wait()
        return self._word


class SharedState(WorkerState):
    """Hears of quiet from Redis itself, by a take that is refused, and from the pod's speaker. The later one counts."""

    def __init__(self) -> None:
        super().__init__()
        self._at = float("-inf")

    def hear(self, reason: str | None) -> None:
        """Redis said so just now."""
        self._at = time.monotonic()
        super().hear(reason)

    def hear_from(self, word: Word) -> None:
        """The pod's speaker heard it from Redis."""
        if word.at > self._at:
            self._at = word.at
            super().hear(word.quiet)


class Pulse(Heartbeat):
    """Tells the parent instead of Redis that this process lives, and shows it to Sidekiq's readers."""

    channel: Channel
    quiet: Callable[[], bool]

    async def _beat(self, redis: Redis) -> bool:
        ready = self._life.registered and not self._life.stale
        try:
            report = Report(self._running(), ready, self.quiet(), self._life.rss_kb(), self._state.quiet_here)
            self.channel.send(report)
        except EOFError:
            end_without_parent()
        self._last = time.monotonic()
        shown, began = self._view.due(), time.monotonic()
        if shown is None:
            return False
        try:
            async with asyncio.timeout(_SHOWN_WITHIN_SECONDS):
                signals = await show(redis, self._life.keys, shown)
        except (RedisError, OSError):
            self._view.forget()
            # What is shown is for people. The next beat has a new connection.
            await redis.connection_pool.disconnect()
            return False
        self._view.told(shown, began)
        for name in signals:
            obey(name)
        return False


class Child(Process):
    """Runs jobs until its parent or a signal ends it."""

    def __init__(self, app: App, settings: Settings, number: int, channel: Channel) -> None:
        self._number = number
        self._channel = channel
        self._leaving = False
        self._hurry = asyncio.Event()
        super().__init__(app, replace(settings, health_port=0))

    def _new_state(self) -> WorkerState:
        return SharedState()

    def _new_life(self) -> Life:
        settings = self._settings
        self._shared = SharedLife(
            self._number, self._redis, self._keys, settings.identity(), settings, self._state, self._app.dead_set
        )
        return self._shared

    def _new_heartbeat(self) -> Heartbeat:
        settings = self._settings
        pulse = Pulse(
            self._life,
            self._link,
            self._state,
            lambda: self._fetch.load,
            lambda: connect(settings.redis_url, settings.key_prefix),
            self._executor.doing,
            lambda: list(self._executor.running.values()),
        )
        pulse.channel = self._channel
        pulse.quiet = lambda: self._state.quiet_reason is not None
        return pulse

    async def run(self) -> int:
        """Work until told to end; the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._read)
        # Alive from here on, though it waits for the pod to be registered.
        self._channel.send(Report(0, ready=False, quiet=False, rss_kb=self._life.rss_kb()))
        try:
            return await super().run()
        finally:
            loop.remove_reader(self._channel.fileno())

    async def _until_redis(self, attempt: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Wait for the pod's speaker, who has a time for Redis to come; no time of its own."""
        if attempt == self._inspect:
            return True
        trying, stopping = self._spawn(attempt(), "begin"), self._spawn(self._stop.wait(), "stop")
        while not trying.done() and not self._stop.is_set():
            await asyncio.wait({trying, stopping}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            self._channel.send(Report(0, ready=False, quiet=False, rss_kb=self._life.rss_kb()))
        stopping.cancel()
        if not trying.done():
            trying.cancel()
            return False
        trying.result()
        return True

    def _loops(self) -> list[asyncio.Task[Any]]:
        return [self._spawn(self._heartbeat.run(), "heartbeat"), self._spawn(self._tracking.run(), "tracking")]

    async def _leave(self) -> bool:
        # The pod says goodbye, when all have ended; only what Sidekiq's readers were shown of this process goes now.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHOWN_WITHIN_SECONDS):
                await hide(self._redis, self._keys, self._life.process)
        return True

    async def _drained_within(self, seconds: float) -> bool:
        if self._leaving:
            drained, hurry = (
                self._spawn(self._fetch.drained.wait(), "drained"),
                self._spawn(self._hurry.wait(), "hurry"),
            )
            await asyncio.wait({drained, hurry}, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
            hurry.cancel()
        return await super()._drained_within(seconds)

    def _on_stop(self, name: signal.Signals) -> None:
        if self._leaving and not self._hurry.is_set():
            log.info("signal: the jobs of this process have their time from now on", extra={"signal": name.name})
            self._hurry.set()
        else:
            super()._on_stop(name)

    def _read(self) -> None:
        try:
            messages = self._channel.receive()
        except EOFError:
            end_without_parent()
            return
        for message in messages:
            match message:
                case Word():
                    self._shared.tell(message)
                    if isinstance(self._state, SharedState) and not self._life.stale:
                        self._state.hear_from(message)
                case Order.STOP:
                    self._on_stop(signal.SIGTERM)
                case Order.QUIET:
                    self._on_quiet()
                case Order.LEAVE:
                    self._leaving = True
                    self._stop.set()
                case _:
                    log.error("a message that is not for this process", extra={"of": type(message).__name__})

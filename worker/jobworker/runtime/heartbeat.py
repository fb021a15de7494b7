"""Tells Redis each second or two that the worker lives, and hears whether it shall be quiet.

Beats from a thread with a connection of its own: an async job that blocks the event loop must not make others take
the worker for dead and run its jobs a second time. Beats at once when a quiet worker becomes empty: the operator
waits for exactly that beat before it deletes the pod.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobworker.errors import StaleEpoch
from jobworker.protocol.keys import Keys
from jobworker.protocol.processes import CLEANUP_SECONDS, remove_dead
from jobworker.protocol.records import WorkerId
from jobworker.protocol.scripts import WorkerScripts
from jobworker.runtime.life import ALIVE_SECONDS, Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.running import Running
from jobworker.runtime.sidekiq import SidekiqView
from jobworker.runtime.state import WorkerState

log = logging.getLogger("jobworker.heartbeat")

BEAT_SECONDS = 1.0
IDLE_BEAT_SECONDS = 1.75  # two attempts still fit into the life of `alive`
FULL_SECONDS = 20.0  # an idle worker has nothing new to tell, and mostly only prolongs its life
HUNG_SECONDS = 60.0  # an event loop that did not turn for so long never will: the kubelet's liveness probe says so too
_ANSWER_SECONDS = 1.5  # a second attempt must fit into the life of `alive`
_AGAIN_SECONDS = 0.2
_TURN_SECONDS = 0.25
_BLOCKED_SECONDS = 2.0  # the loop did not turn: said once, with the place in the code
_STOOD_STILL_SECONDS = 1.5  # that this thread, which only waits, woke too late
_FRAMES = 4  # innermost ones shown of it

_SIGNALS = {number.name[3:]: number for number in (signal.SIGTSTP, signal.SIGTERM, signal.SIGTTIN)}
"""What Sidekiq's API sends: quiet, stop and dump_threads. Whoever can write to Redis could send any other."""


class Heartbeat:
    """``running`` counts jobs whose code runs here or whose end is not acknowledged; ``connect`` opens a connection.

    ``doing`` tells which job the event loop is in, for the log; ``jobs`` are those whose code runs here.
    """

    def __init__(
        self,
        life: Life,
        link: Link,
        state: WorkerState,
        running: Callable[[], int],
        connect: Callable[[], Redis],
        doing: Callable[[], dict[str, Any]] = dict,
        jobs: Callable[[], Iterable[Running]] = list,
    ) -> None:
        self._life = life
        self._link = link
        self._state = state
        self._running = running
        self._connect = connect
        self._doing = doing
        self._view = SidekiqView(life, state, jobs)
        self._clean_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ended = asyncio.Event()
        self._stop = threading.Event()
        self._now: asyncio.Event | None = None  # of the thread's own loop
        self._thread_loop: asyncio.AbstractEventLoop | None = None
        self._last = float("-inf")
        self._full_at = float("-inf")
        self._own: WorkerScripts | None = None
        self._turned = time.monotonic()
        self._blocked = False
        self._hung = False

    @property
    def fresh(self) -> bool:
        """Does Redis take this worker for alive?"""
        return self._life.registered and not self._life.stale and time.monotonic() - self._last < ALIVE_SECONDS

    def registered(self) -> None:
        """Registering is a beat as well."""
        self._last = time.monotonic()

    def beat_now(self) -> None:
        """Do not wait for the period to end."""
        if self._thread_loop is not None and self._now is not None:
            _call(self._thread_loop, self._now.set)

    async def run(self) -> None:
        """Beat until cancelled, and show the thread that the event loop turns."""
        self._turned = time.monotonic()
        thread = threading.Thread(target=self._in_thread, name="jobworker-heartbeat", daemon=True)
        thread.start()
        try:
            while not self._ended.is_set():
                self._turned = time.monotonic()
                try:
                    async with asyncio.timeout(_TURN_SECONDS):
                        await self._ended.wait()
                except TimeoutError:
                    continue
        finally:
            self._stop.set()
            self.beat_now()
            thread.join(_ANSWER_SECONDS)

    # ── from here on in the thread ─────────────────────────────────────────────

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._beat_forever())
        finally:
            _call(self._loop, self._ended.set)

    async def _beat_forever(self) -> None:
        self._now, self._thread_loop = asyncio.Event(), asyncio.get_running_loop()
        async with self._connect() as redis:
            while not self._stop.is_set():
                pause = BEAT_SECONDS
                self._watch_loop()
                if self._now.is_set():
                    self._now.clear()
                    self._full_at = float("-inf")
                began = time.monotonic()
                try:
                    if not self._hung and await self._beat(redis):
                        pause = IDLE_BEAT_SECONDS
                except AWAY as error:
                    _call(self._loop, self._link.lost, error)
                    self._view.forget()
                    # Whatever is wrong with this connection, the next attempt has a new one.
                    await redis.connection_pool.disconnect()
                    pause = _AGAIN_SECONDS
                due = time.monotonic() + pause
                self._stood_still(due - pause - began - 2 * _ANSWER_SECONDS)  # no beat takes longer by itself
                try:
                    async with asyncio.timeout(pause):
                        await self._now.wait()
                except TimeoutError:
                    self._stood_still(time.monotonic() - due)

    async def _beat(self, redis: Redis) -> bool:
        """Beat, or prolong the life. True if nothing is going on, so that the next one has a little more time."""
        if self._life.stale:
            return False
        current = self._life.scripts
        scripts = self._scripts_of(current, redis)
        shown, began, running = self._view.due(), time.monotonic(), self._running()
        idle = running == 0 and self._state.taking
        if idle and shown is None and began - self._full_at < FULL_SECONDS:
            async with asyncio.timeout(_ANSWER_SECONDS):
                alive = await scripts.prolong(ALIVE_SECONDS)
            if alive:
                self._last = time.monotonic()
                self._life.known_alive_at = began
                _call(self._loop, self._link.back)
                return True
        fields = self._life.beat_fields()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reason, signals = await scripts.beat_and_show(ALIVE_SECONDS, running, fields, shown)
        except StaleEpoch:
            self._view.forget()
            _call(self._loop, self._life.ended, current)
            return False
        self._last = time.monotonic()
        self._life.known_alive_at = began
        # Who ran something at the last full beat tells once more that it is over.
        self._full_at = self._last if idle else float("-inf")
        self._view.told(shown, began)
        _call(self._loop, self._heard, reason)
        for name in signals:
            obey(name)
        if self._last >= self._clean_at:
            self._clean_at = self._last + CLEANUP_SECONDS
            await self._clean(redis)
        return idle

    def _scripts_of(self, current: WorkerScripts, redis: Redis) -> WorkerScripts:
        """The same life over the connection of this thread."""
        if self._own is None or self._own.epoch != current.epoch:
            self._own = WorkerScripts(redis, self._life.keys, self._life.worker, current.epoch, current.fleet)
        return self._own

    async def _clean(self, redis: Redis) -> None:
        """Take killed processes out of what Sidekiq's readers see; whatever comes of it, this worker lives."""
        keys = self._life.keys
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await remove_dead(redis, keys)
        except ResponseError as error:
            log.warning(
                "the key %s cannot be used, so Sidekiq's API and web page do not see this worker; "
                "if another application owns it, give jobworker a Redis or a key prefix of its own",
                keys.processes,
                extra={"error": str(error)},
            )

    def _heard(self, reason: str | None) -> None:
        self._link.back()
        self._state.hear(reason)

    def _stood_still(self, seconds: float) -> None:
        """A stopped process is no job's fault: the event loop has its time anew to show that it turns."""
        if seconds < _STOOD_STILL_SECONDS:
            return
        self._turned = time.monotonic()
        log.warning(
            "this whole process stood still: it was stopped (SIGSTOP, a frozen container or machine), had no CPU, or C "
            "code in it did not let other threads run; if it was too long, others have its jobs by now",
            extra={**self._doing(), "seconds": round(seconds, 1)},
        )

    def _watch_loop(self) -> None:
        seconds = time.monotonic() - self._turned
        if seconds < _BLOCKED_SECONDS:
            if self._blocked:
                log.warning("the event loop turns again")
            self._blocked = self._hung = False
        elif not self._blocked:
            self._blocked = True
            log.error(
                "the event loop is blocked: no async job goes on and no result is told; "
                "await in the job that is there, or make it a plain function, which gets a thread",
                extra={**self._doing(), "seconds": round(seconds, 1), "at": _where(self._loop_thread)},
            )
        elif seconds > HUNG_SECONDS and not self._hung:
            self._hung = True
            log.critical(
                "the event loop is still blocked: the heartbeat stops, and others take over the jobs of this worker",
                extra={**self._doing(), "seconds": round(seconds, 1), "at": _where(self._loop_thread)},
            )


def obey(name: str) -> None:
    """Send this process the signal that Sidekiq's API asks for by this name."""
    number = _SIGNALS.get(name)
    if number is None:
        log.warning(
            "unknown signal from Sidekiq's API: ignored, only %s are obeyed",
            ", ".join(_SIGNALS),
            extra={"signal": name},
        )
        return
    log.info("signal from Sidekiq's API", extra={"signal": number.name})
    os.kill(os.getpid(), number)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return  # that loop is closed: the process or the thread ends


def _where(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # the documented way to another thread's stack
    frames = traceback.extract_stack(frame)[-_FRAMES:]
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))


async def listen(redis: Redis, keys: Keys, worker: WorkerId, link: Link, heartbeat: Heartbeat) -> None:
    """Beat as soon as somebody quiets or unquiets the worker, until cancelled.

    The message is only a nudge: the beat's answer is the fact, so an old or lost message does no harm.
    """
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(keys.signal(worker))
                while True:
                    message = await channel.get_message(timeout=30.0)
                    # Also after subscribing: what was said while nobody listened is in the fact.
                    if message is not None:
                        heartbeat.beat_now()
        except AWAY as error:
            link.lost(error)
            await link.pause()

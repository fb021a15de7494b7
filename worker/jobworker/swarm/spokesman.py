"""The process that speaks for a pod of several processes: one identity, one epoch, one heartbeat, one health.

It runs no job. It registers the pod and beats for it, looks after due jobs and dead workers as any worker does, tells
the others what it hears, and gives back what one of them held that died.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from jobworker.app import App
from jobworker.client.connection import connect, without_password
from jobworker.errors import StaleEpoch
from jobworker.protocol.cancellation import end
from jobworker.protocol.keys import Keys
from jobworker.protocol.processes import Shown
from jobworker.protocol.records import QUIET_SIGNAL, Entry, Epoch
from jobworker.protocol.rescue import give_back_of
from jobworker.protocol.scripts import WorkerScripts
from jobworker.runtime.beginning import inspect, until_redis
from jobworker.runtime.deaths import Deaths
from jobworker.runtime.health import health
from jobworker.runtime.heartbeat import Heartbeat, listen
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.process import EXIT_CLEAN, EXIT_JOBS_CUT, EXIT_NO_START
from jobworker.runtime.rescue import Watch
from jobworker.runtime.scheduler import Scheduler
from jobworker.runtime.settings import Settings
from jobworker.runtime.sidekiq import SidekiqView
from jobworker.runtime.state import WorkerState
from jobworker.swarm.messages import Channel, Roll, Word, end_without_parent
from jobworker.swarm.numbers import owner

log = logging.getLogger("jobworker.swarm")

_TELL_SECONDS = 1.0
_LOOK_SECONDS = 10.0  # between two looks for jobs of nobody, when no process has died
_LOOKS_AFTER_DEATH = 3  # a second apart: Redis may carry a dead process's last take out late
_SAY_SECONDS = 2.0
_PARENT_SILENT_SECONDS = 30.0
_LIVES_KEPT = 20

Lives = tuple[tuple[str, bool], ...]


class PodLife(Life):
    """The life of a pod: what its record and its beats tell is the sum of its processes."""

    roll: Roll

    def adopt(self, epoch: str) -> None:
        """Go on with the life of a speaker before, who died; its processes live in it."""
        self.scripts = WorkerScripts(
            self.redis, self.keys, self.worker, Epoch(epoch), self.scripts.fleet, self._dead_set
        )
        self.registered = True

    def rss_kb(self) -> int:
        """Memory of all processes; what they share counts once for each."""
        return super().rss_kb() + self.roll.rss_kb

    def beat_fields(self) -> dict[str, str | int | float]:
        """What each beat tells anew."""
        return {**super().beat_fields(), "quiet_here": self._quiet_here(), "rss_kb": self.rss_kb()}

    def _quiet_here(self) -> str:
        quiet, living = self.roll.quiet_here, len(self.roll.living)
        if not quiet:
            return ""
        return QUIET_SIGNAL if quiet >= living else f"{QUIET_SIGNAL} to {quiet} of {living} processes"

    def _description(self) -> dict[str, str | int | float]:
        return {**super()._description(), "pid": os.getppid(), "running": self.roll.load}


class PodState(WorkerState):
    """Remembers when it heard last whether the pod is quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_at = 0.0  # monotonic; no infinity, which JSON cannot say
        self.tell: Callable[[], None] = lambda: None

    def hear(self, reason: str | None) -> None:
        """Redis says so; all processes hear it at once."""
        self.heard_at = time.monotonic()
        changed = reason != self.quiet_reason
        super().hear(reason)
        if changed:
            self.tell()


class _Unseen(SidekiqView):
    """The processes that run jobs are shown to Sidekiq's readers, each by itself."""

    def due(self) -> Shown | None:
        return None


class _PodHeartbeat(Heartbeat):
    def see_nothing(self, life: Life, state: WorkerState) -> None:
        self._view = _Unseen(life, state, list)


class Spokesman:
    """Make it inside the event loop that it shall run in.

    ``lives`` is what a speaker before has said; ``settings`` are those of the pod: all that its processes do together.
    ``comes_back``: its identity was given and may begin anew, so that quiet stays.
    """

    def __init__(  # what a process has to be told when it begins
        self,
        app: App,
        settings: Settings,
        channel: Channel,
        lives: Lives,
        roll: Roll,
        comes_back: bool,  # noqa: FBT001
    ) -> None:
        self._comes_back = comes_back
        self._app = app
        self._settings = settings
        self._channel = channel
        self._lives = lives
        self._redis = connect(settings.redis_url, settings.key_prefix)
        self._keys = Keys(settings.key_prefix)
        self._address = without_password(settings.redis_url)
        self._link = Link(self._address, self._redis)
        self._state = PodState()
        self._life = PodLife(self._redis, self._keys, settings.identity(), settings, self._state, app.dead_set)
        self._life.roll = roll
        self._life.iterating = app.jobs.iterating
        self._heartbeat = _PodHeartbeat(
            self._life,
            self._link,
            self._state,
            lambda: self._life.roll.load,
            lambda: connect(settings.redis_url, settings.key_prefix),
        )
        self._heartbeat.see_nothing(self._life, self._state)
        self._state.tell = self._tell
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._told_at = time.monotonic()
        self._living: frozenset[int] = frozenset(roll.living)
        self._looks = _LOOKS_AFTER_DEATH

    async def run(self) -> int:
        """Speak for the pod until the parent says that it ends; the exit code."""
        loop = asyncio.get_running_loop()
        faulthandler.register(signal.SIGTTIN, file=sys.stderr, all_threads=True)
        loop.add_reader(self._channel.fileno(), self._read)
        telling = self._spawn(self._tell_forever(), "tell")
        try:
            async with health(self._settings.health_port, lambda: self._ready, lambda: self._live):
                return await self._speak()
        finally:
            loop.remove_reader(self._channel.fileno())
            await end([telling])
            await self._app.close()
            await self._redis.aclose()

    async def _speak(self) -> int:
        if not await self._until_registered():
            return EXIT_CLEAN if self._stop.is_set() else EXIT_NO_START
        self._heartbeat.registered()
        deaths = Deaths(self._redis, self._keys, self._app.jobs, self._link)
        watch = Watch(self._life, self._link)
        tasks = [
            self._spawn(self._heartbeat.run(), "heartbeat"),
            self._spawn(listen(self._redis, self._keys, self._life.worker, self._link, self._heartbeat), "listen"),
            self._spawn(deaths.run(), "deaths"),
            self._spawn(watch.run(), "rescue"),
            self._spawn(Scheduler(self._life, self._link, watch, deaths).run(), "scheduler"),
            self._spawn(self._keep_alive(), "life"),
            self._spawn(self._look_forever(), "orphans"),
        ]
        self._tell()
        stopping = self._spawn(self._stop.wait(), "stop")
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            error = None if task.cancelled() else task.exception()
            log.critical(
                "a loop broke: this process ends, another takes over", exc_info=error, extra={"loop": task.get_name()}
            )
        await end([*tasks, stopping])
        if not self._stop.is_set():
            return EXIT_NO_START if not self._life.registered else EXIT_JOBS_CUT
        return await self._say_goodbye()

    async def _until_registered(self) -> bool:
        if self._lives:
            # Whether that life still goes on, the first beat finds out; jobs run in it, whether Redis is there or not.
            self._life.adopt(self._lives[-1][0])
            return True
        return await until_redis(self._begin, self._link, self._address, self._settings.connect_seconds, self._stop)

    async def _begin(self) -> None:
        await inspect(self._redis)
        await self._life.begin()
        self._lives = ((self._life.scripts.epoch, False),)

    async def _keep_alive(self) -> None:
        """Begin the next life when one was ended, as the loop that takes jobs does in a worker of one process."""
        while True:
            await self._state.wake.wait()
            self._state.wake.clear()
            try:
                while self._life.stale:
                    await self._begin_again()
            except AWAY as error:
                self._link.lost(error)
                await self._link.pause()
                self._state.wake.set()
            self._tell()

    async def _begin_again(self) -> None:
        forgotten = await self._life.forgotten()
        log.error(
            "Redis lost its data: the jobs that run here are held anew, and the worker registers anew; "
            "jobs that waited on queues are gone"
            if forgotten
            else "Redis took this worker for dead and gave its jobs to others: it registers anew",
            extra={"worker": self._life.worker, "jobs": self._life.roll.load},
        )
        await self._life.begin()
        self._heartbeat.registered()
        self._lives = (*self._lives, (str(self._life.scripts.epoch), forgotten))[-_LIVES_KEPT:]

    # ── jobs of processes that died ───────────────────────────────────────────

    async def _look_forever(self) -> None:
        while True:
            try:
                await self._give_back_orphans()
            except AWAY as error:
                self._link.lost(error)
                await self._link.pause()
                continue
            except StaleEpoch:
                self._life.ended(self._life.scripts)
            self._looks = max(0, self._looks - 1)
            self._changed.clear()
            try:
                async with asyncio.timeout(_TELL_SECONDS if self._looks else _LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _give_back_orphans(self) -> bool:
        """Give back what is held by a process that has ended. True if there was something."""
        roll, life = self._life.roll, self._life
        if life.stale:
            return False
        scripts = life.scripts
        # RACE a process that was forked after the roll was called holds jobs by now: its number is above `born`.
        orphans: list[Entry] = [
            entry
            for entry in await life.held()
            if owner(entry.number) <= roll.born and owner(entry.number) not in roll.living
        ]
        if not orphans:
            return False
        place = self._settings.pod or self._settings.hostname
        rescued = await give_back_of(scripts, orphans, place, planned=roll.stopping)
        log.warning(
            "a process ended without goodbye: its jobs went back to their queues",
            extra={"worker": life.worker, "jobs": rescued.moved, "poisoned": rescued.poisoned},
        )
        return True

    # ── the parent ────────────────────────────────────────────────────────────

    def _read(self) -> None:
        try:
            messages = self._channel.receive()
        except EOFError:
            end_without_parent()
            return
        for message in messages:
            if isinstance(message, Roll):
                self._hear(message)

    def _hear(self, roll: Roll) -> None:
        before, self._life.roll = self._life.roll, roll
        self._told_at = time.monotonic()
        living = frozenset(roll.living)
        if self._living - living:
            self._looks = _LOOKS_AFTER_DEATH
            self._changed.set()
        self._living = living
        if roll.stopping and not self._state.stopping:
            # Redis knows it before the grace can end: a SIGKILL then is no job's fault.
            self._state.stop()
            self._heartbeat.beat_now()
        quiet = self._state.quiet_reason is not None
        drained = before.load > 0 and roll.load == 0 and (quiet or roll.stopping)
        if drained or roll.quiet != quiet or roll.quiet_here != before.quiet_here:
            self._heartbeat.beat_now()
        if roll.finish:
            self._stop.set()

    async def _tell_forever(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(_TELL_SECONDS)

    def _tell(self) -> None:
        word = Word(
            self._lives if self._life.registered and not self._life.stale else (),
            self._heartbeat.fresh,
            self._state.quiet_reason,
            self._state.heard_at,
            self._life.known_alive_at,
        )
        try:
            self._channel.send(word)
        except EOFError:
            end_without_parent()

    @property
    def _ready(self) -> bool:
        return self._heartbeat.fresh and self._life.roll.ready

    @property
    def _live(self) -> bool:
        return time.monotonic() - self._told_at < _PARENT_SILENT_SECONDS

    # ── the end ───────────────────────────────────────────────────────────────

    async def _say_goodbye(self) -> int:
        try:
            async with asyncio.timeout(_SAY_SECONDS):
                while True:
                    try:
                        await self._give_back_orphans()
                        if not await self._life.scripts.deregister(self._life.process):
                            log.error("jobs are still held under this worker's name; others will rescue them")
                            return EXIT_JOBS_CUT
                        if not self._comes_back:
                            await self._redis.delete(self._keys.quiet(self._life.worker))
                    except AWAY as error:
                        self._link.lost(error)
                        await self._link.pause()
                    else:
                        log.info("stopped", extra={"worker": self._life.worker})
                        return EXIT_CLEAN
        except StaleEpoch:
            return EXIT_CLEAN  # an answer that was lost, or the pod was taken for dead while it held nothing
        except TimeoutError:
            log.warning("Redis did not hear the goodbye: others find this worker dead in some seconds")
            return EXIT_CLEAN

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name)

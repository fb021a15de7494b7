"""The worker process from start to exit code, every order in which things happen written out here."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Self, cast

from jobworker.app import App
from jobworker.client.connection import connect, without_password
from jobworker.errors import StaleEpoch
from jobworker.protocol.cancellation import end
from jobworker.protocol.keys import Keys
from jobworker.runtime import memory
from jobworker.runtime.beginning import inspect, until_redis
from jobworker.runtime.deaths import Deaths
from jobworker.runtime.executor import Executor
from jobworker.runtime.fetch import Fetch
from jobworker.runtime.health import health
from jobworker.runtime.heartbeat import Heartbeat, listen
from jobworker.runtime.keeper import RedisKeeper
from jobworker.runtime.life import Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.order import QueueOrder
from jobworker.runtime.rescue import Watch
from jobworker.runtime.scheduler import Scheduler
from jobworker.runtime.settings import Settings
from jobworker.runtime.state import WorkerState
from jobworker.runtime.tracking import Tracking
from jobworker.runtime.units import Units

log = logging.getLogger("jobworker.worker")

EXIT_CLEAN, EXIT_NO_START, EXIT_JOBS_CUT = 0, 1, 3

_UNWIND_SECONDS = 1.5  # for async jobs to leave their context managers after they were cut
_SAY_SECONDS = 2.0  # for the last words to Redis; with the above less than the 5 s that a pod has behind its drain


class Process:
    """One worker. Make it inside the event loop that it shall run in."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._settings = settings
        self._app = app
        self._redis = connect(settings.redis_url, settings.key_prefix)
        self._keys = Keys(settings.key_prefix)
        self._address = without_password(settings.redis_url)
        self._link = Link(self._address, self._redis)
        self._state = self._new_state()
        self._life = self._new_life()
        self._life.iterating = app.jobs.iterating
        self._tracking = Tracking(self._redis, self._link)
        self._executor = Executor(
            app.jobs,
            self._state,
            lambda job: RedisKeeper(self._life, self._link, job, self._tracking),
            settings.concurrency,
        )
        self._fetch = Fetch(
            self._life,
            self._link,
            self._state,
            self._executor,
            self._tracking,
            QueueOrder(settings.queues, settings.order),
            self._on_drained,
        )
        self._heartbeat = self._new_heartbeat()
        self._units = [Units(fetcher, self._life, self._state, self._executor) for fetcher in app.jobs.fetchers]
        self._fetch.untold = lambda: sum(units.untold for units in self._units)
        self._fetch.on_begun = self._heartbeat.registered
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    def _new_state(self) -> WorkerState:
        return WorkerState()

    def _new_life(self) -> Life:
        settings = self._settings
        return Life(self._redis, self._keys, settings.identity(), settings, self._state, self._app.dead_set)

    def _new_heartbeat(self) -> Heartbeat:
        settings = self._settings
        return Heartbeat(
            self._life,
            self._link,
            self._state,
            lambda: self._fetch.load,
            lambda: connect(settings.redis_url, settings.key_prefix),
            self._executor.doing,
            lambda: list(self._executor.running.values()),
        )

    async def run(self) -> int:
        """Work until a signal ends it; the exit code."""
        self._handle_signals()
        try:
            if not await self._until_redis(self._inspect):
                return EXIT_CLEAN if self._stop.is_set() else EXIT_NO_START
            async with health(self._settings.health_port, lambda: self._heartbeat.fresh):
                return await self._work()
        finally:
            await self._app.close()
            await self._redis.aclose()

    async def _work(self) -> int:
        # 1. Registered before anything is taken: what is taken is held by a life that others can find dead.
        #    A Redis that still loads its data answers questions and refuses this, so it is waited for here again.
        if not await self._until_redis(self._life.begin):
            return EXIT_CLEAN if self._stop.is_set() else EXIT_NO_START
        self._heartbeat.registered()
        # 2. Heartbeat and signals before the first job: a worker that is quiet from its start takes none.
        tasks = self._loops()
        # 3. Jobs last.
        tasks.append(fetching := self._spawn(self._fetch.run(), "fetch"))
        memory.settle()
        log.info("ready: %d jobs known", len(self._app.jobs), extra=self._described())
        # A loop that ends by itself is a defect; the process ends with it rather than live half.
        stopping = self._spawn(self._stop.wait(), "stop")
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        broken = [task for task in done if task is not stopping]
        for task in broken:
            error = None if task.cancelled() else task.exception()
            log.critical(
                "a loop of the worker broke: the process ends", exc_info=error, extra={"loop": task.get_name()}
            )
        if fetching in broken:
            # Nobody is left who could tell Redis how a job ended: others find this worker dead and run them.
            log.critical("jobs that run here will run again elsewhere", extra={"jobs": self._fetch.load})
            self._state.stop()
            self._executor.jobs_cut = self._fetch.load
            await end([task for task in (*tasks, stopping) if task is not fetching])
            return EXIT_JOBS_CUT
        clean = await self._drain() and not broken
        # The heartbeat goes on through the drain, so that nobody rescues jobs that still run here.
        await end([task for task in (*tasks, stopping) if task is not fetching])
        clean = await self._leave() and clean
        await end([fetching])
        log.info("stopped", extra={"jobs_cut": self._executor.jobs_cut})
        return EXIT_CLEAN if clean else EXIT_JOBS_CUT

    def _loops(self) -> list[asyncio.Task[Any]]:
        """What runs beside the jobs."""
        deaths = Deaths(self._redis, self._keys, self._app.jobs, self._link)
        watch = Watch(self._life, self._link)
        return [
            self._spawn(self._heartbeat.run(), "heartbeat"),
            self._spawn(listen(self._redis, self._keys, self._life.worker, self._link, self._heartbeat), "listen"),
            self._spawn(deaths.run(), "deaths"),
            self._spawn(watch.run(), "rescue"),
            self._spawn(Scheduler(self._life, self._link, watch, deaths, tracking=self._tracking).run(), "scheduler"),
            self._spawn(self._tracking.run(), "tracking"),
            *(self._spawn(units.run(), "fetcher") for units in self._units),
        ]

    async def _drain(self) -> bool:
        """From the signal to the moment when this process holds no job. True if every job ended or went back itself."""
        budget = self._settings.shutdown_seconds
        log.info(
            "stopping: no more jobs are taken, iterating jobs go back, others have their time",
            extra={"running": len(self._executor.running), "seconds": budget},
        )
        # 1. Quiet: not started jobs and iterating jobs go back to the front of their queues.
        self._state.stop()
        # Redis knows it before the grace can end: a SIGKILL then is no job's fault.
        self._heartbeat.beat_now()
        # 2. Other jobs run on, their ends are acknowledged, until none is left or the time is over.
        if await self._drained_within(budget):
            return True
        # 3. Cut what remains. Async jobs first get a moment to unwind: what went back may start elsewhere at once.
        cut = self._executor.cut()
        if cut == 0 and self._fetch.load == 0:
            return True  # Redis was away all the time, and there is nothing that it would have to be told
        if cut == 0:
            log.error("Redis did not take the last results: others will run those jobs again")
            return False
        tasks = [run.task for run in self._executor.running.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_UNWIND_SECONDS)
        # 4. Give back to the front what was cut, with no retry counted.
        self._executor.abandon()
        async with _Within(_SAY_SECONDS) as said:
            await self._fetch.drained.wait()
        if not said.done:
            log.error("Redis did not take the cut jobs back: others will find this worker dead and run them")
        return False

    async def _drained_within(self, seconds: float) -> bool:
        drained = self._spawn(self._fetch.drained.wait(), "drained")
        now = self._spawn(self._stop_now.wait(), "stop-now")
        done, _ = await asyncio.wait({drained, now}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        now.cancel()
        return drained in done

    async def _leave(self) -> bool:
        """Say goodbye, so that nobody has to wait for the heartbeat to run out. False if jobs will run again."""
        async with _Within(_SAY_SECONDS) as said:
            asked = False
            while True:
                try:
                    return await self._say_goodbye()
                except StaleEpoch:
                    if asked:
                        return True  # the answer to the first goodbye was lost, and it was heard
                    log.error("Redis took this worker for dead before it could say goodbye")  # noqa: TRY400  # no traceback
                    return False
                except AWAY as error:
                    asked = True
                    self._link.lost(error)
                    await self._link.pause()
        if not said.done:
            log.warning("Redis did not hear the goodbye: others find this worker dead in some seconds")
        return True

    async def _say_goodbye(self) -> bool:
        if not await self._life.scripts.deregister(self._life.process):
            log.error("jobs are still held under this worker's name; others will rescue them")
            return False
        if self._settings.worker is None:
            # A random identity never comes back; whoever quieted it left a fact about nobody.
            await self._redis.delete(self._keys.quiet(self._life.worker))
        return True

    async def _until_redis(self, attempt: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Until it succeeds, a signal comes or the time for it is over."""
        return await until_redis(attempt, self._link, self._address, self._settings.connect_seconds, self._stop)

    async def _inspect(self) -> None:
        await inspect(self._redis)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_stop, name)
        loop.add_signal_handler(signal.SIGTSTP, self._on_quiet)
        # Threads by faulthandler, which answers also while a job keeps the loop; it calls the loop's handler after.
        loop.add_signal_handler(signal.SIGTTIN, self._on_stacks)
        faulthandler.register(signal.SIGTTIN, file=sys.stderr, all_threads=True, chain=True)

    def _on_drained(self) -> None:
        self._heartbeat.beat_now()

    def _on_stop(self, name: signal.Signals) -> None:
        log.info("signal", extra={"signal": name.name})
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def _on_quiet(self) -> None:
        log.info("signal: quiet, until the process ends", extra={"signal": "SIGTSTP"})
        self._state.be_quiet_here()
        self._heartbeat.beat_now()  # people look at once whether it worked

    def _on_stacks(self) -> None:
        jobs = {run.task: run.context.fields for run in self._executor.running.values()}
        for task in asyncio.all_tasks():
            frames = task.get_stack()
            where = " < ".join(f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in reversed(frames))
            log.info("task is at", extra={"task": task.get_name(), **jobs.get(task, {}), "at": where})

    def _described(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "worker": self._life.worker,
            "redis": self._address,
            "queues": " ".join(f"{queue.name},{queue.weight}" for queue in settings.queues),
            "order": settings.order.value,
            "concurrency": settings.concurrency,
        }

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name)


class _Within:
    """Run a block for so many seconds at most; ``done`` says whether it came to its end."""

    def __init__(self, seconds: float) -> None:
        self.done = False
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *what: object) -> bool:
        try:
            await self._timeout.__aexit__(*cast("tuple[Any, Any, Any]", what))
        except TimeoutError:
            return True
        self.done = what[0] is None
        return False

"""One life of the worker after the other, as Redis sees them: registered, ended, begun anew.

A life is an epoch. Redis refuses every step of an epoch that is over, so a worker that was taken for dead cannot
acknowledge jobs that others run by now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Sequence
from importlib import metadata

import orjson
from redis.asyncio import Redis

from jobworker.protocol import processes
from jobworker.protocol.deaths import DeadSet
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import QUIET_SIGNAL, Entry, Epoch, RescueAnswer, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import SIDEKIQS_DEAD_SET, FleetScripts, WorkerScripts
from jobworker.runtime.settings import Order, Settings
from jobworker.runtime.state import WorkerState

log = logging.getLogger("jobworker.worker")

ALIVE_SECONDS = 5.0
_AGAIN_SECONDS = 0.2
_KEEPERS_AT_ONCE = 16  # a thousand iterating jobs that stop together share so many connections
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Life:
    """The present life. ``stale`` is set by whoever hears so first; the loop that takes jobs begins the next one."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        worker: WorkerId,
        settings: Settings,
        state: WorkerState,
        dead_set: DeadSet = SIDEKIQS_DEAD_SET,
    ) -> None:
        self.worker = worker
        self.redis = redis
        self.keys = keys
        self.fleet = FleetScripts(redis, keys)
        self.stale = False
        self.registered = False
        # Monotonic: when the last message was sent after which Redis took this worker for alive.
        self.known_alive_at = 0.0
        self.workers = 1  # how many share this Redis, as far as is known
        self.keeping = asyncio.Semaphore(_KEEPERS_AT_ONCE)
        self.iterating: Sequence[str] = ()  # names of jobs that can be cancelled and paused
        self._settings = settings
        self._dead_set = dead_set
        self._state = state
        self._started_at = time.time()
        self._server = ""
        self.process = processes.identity(settings.hostname, os.getpid())
        self.process_info = self._process_info()
        self.first_number = 1  # of the jobs that this process takes
        self.scripts = self._new()
        self._next: WorkerScripts | None = None

    def _new(self) -> WorkerScripts:
        epoch = Epoch(secrets.token_hex(8))
        return WorkerScripts(self.redis, self.keys, self.worker, epoch, self._settings.fleet, self._dead_set)

    async def begin(self, held: Sequence[Entry] = ()) -> None:
        """Register; a life before that still holds jobs is rescued first, for the process that lived it is gone.

        ``held`` are jobs that run here and that Redis forgot: the new life holds them from its first moment on. A call
        that broke off is made again with the same epoch, since it may have been carried out.
        """
        scripts = self._next = self._next or self._new()
        server = await self._server_run()
        while True:
            sent = time.monotonic()
            answer = await scripts.register(ALIVE_SECONDS, self._description())
            if not isinstance(answer, bool):
                break
            rescued = await rescue(self.fleet, self.worker, self._settings.fleet, Death(vouched=True))
            log.warning(
                "the life before of this worker ended without goodbye: its jobs went back to their queues",
                extra={"jobs": rescued.moved, "poisoned": rescued.poisoned, "answer": rescued.answer.value},
            )
            if rescued.answer is not RescueAnswer.OK:
                await asyncio.sleep(_AGAIN_SECONDS)  # somebody else is at it too
        # RACE whoever sees the new life may write a checkpoint in it: what it holds is written first.
        if held:
            await scripts.hold(held)
        self._next = None
        self.known_alive_at = sent
        self.scripts = scripts
        self.stale = False
        self.registered = True
        self._server = server
        self._state.hear(answer)
        log.info("registered", extra={"worker": self.worker, "epoch": scripts.epoch, "quiet": answer})

    def ended(self, scripts: WorkerScripts) -> None:
        """Redis refused a step of ``scripts``."""
        if scripts is self.scripts and not self.stale:
            self.stale = True
            self._state.wake.set()

    async def forgotten(self) -> bool:
        """Did Redis lose its data, so that nobody else has the jobs of this life?

        It is another process than at registration (a restart, a failover), has no record of this worker at all, and
        knows of no rescue. A rescue removes the record as well: of a worker that was stopped while Redis was restarted.
        """
        if await self.redis.exists(self.keys.record(self.worker)):
            return False
        if await self.redis.get(self.keys.rescued(self.worker)) == self.scripts.epoch.encode():
            return False
        return await self._server_run() != self._server

    async def held(self) -> Sequence[Entry]:
        """What Redis says this process holds, the oldest first."""
        return await self.fleet.held(self.worker)

    async def _server_run(self) -> str:
        return str((await self.redis.info("server")).get("run_id", ""))

    @property
    def concurrency(self) -> int:
        """How many jobs run at the same time."""
        return self._settings.concurrency

    def rss_kb(self) -> int:
        """Memory of this process; 0 where nobody tells."""
        return rss_kb()

    def beat_fields(self) -> dict[str, str | int | float]:
        """What each beat tells anew."""
        quiet_here = QUIET_SIGNAL if self._state.quiet_here else ""
        return {"stopping": int(self._state.stopping), "quiet_here": quiet_here, "rss_kb": rss_kb()}

    def _description(self) -> dict[str, str | int | float]:
        settings = self._settings
        return {
            "fleet": settings.fleet,
            "pod": settings.pod,
            "version": metadata.version("jobworker"),
            "revision": settings.revision,
            "queues": " ".join(f"{queue.name},{queue.weight}" for queue in settings.queues),
            "order": settings.order.value,
            "concurrency": settings.concurrency,
            "started_at": self._started_at,
            "hostname": settings.hostname,
            "pid": os.getpid(),
            "process": self.process,
            "running": 0,
            "iterating": orjson.dumps(list(self.iterating)).decode(),
            **self.beat_fields(),
        }

    def _process_info(self) -> bytes:
        settings = self._settings
        return processes.info(
            self.process,
            started_at=self._started_at,
            tag=settings.fleet,
            labels=[processes.LABEL, *filter(None, [settings.revision])],
            concurrency=settings.concurrency,
            weights={queue.name: queue.weight for queue in settings.queues},
            mode="strict" if settings.order is Order.STRICT else "weighted",
            version=metadata.version("jobworker"),
        )


def rss_kb() -> int:
    """Memory of this process in KiB; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  # read each second; a Path costs more than the read
            return int(statm.read().split()[1]) * _PAGE_KB
    except OSError:
        return 0  # not Linux

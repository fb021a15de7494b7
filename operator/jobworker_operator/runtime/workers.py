"""The loops that take keys off the work queue and reconcile them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time

from jobworker.protocol.cancellation import end
from jobworker_operator.kube.errors import KubeError
from jobworker_operator.model.spec import Key
from jobworker_operator.runtime.health import Canary
from jobworker_operator.runtime.logs import current_key, current_reconcile
from jobworker_operator.runtime.metrics import Metrics
from jobworker_operator.runtime.queue import WorkQueue
from jobworker_operator.runtime.reconcile import ReconcileFailed, Reconciler

log = logging.getLogger(__name__)

CANARY_KEY = Key("", "canary")


class Workers:
    """``count`` keys are worked on at the same time, each of them by one worker."""

    def __init__(
        self,
        queue: WorkQueue,
        reconciler: Reconciler,
        metrics: Metrics,
        canary: Canary,
        *,
        count: int,
        resync_seconds: float,
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._canary = canary
        self._count = count
        self._resync_seconds = resync_seconds
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._reconciling: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Work for ever, or until `stop`."""
        self._tasks = [
            asyncio.create_task(self._work(number), name=f"worker {number}") for number in range(self._count)
        ]
        await asyncio.gather(*self._tasks)

    async def stop(self, seconds: float) -> None:
        """Take no more keys, and give reconciles that are under way ``seconds`` to end."""
        self._stopping = True
        for task in self._tasks:
            if task not in self._reconciling:
                task.cancel()
        if self._reconciling:
            await asyncio.wait(self._reconciling, timeout=seconds)
        await end(self._tasks)

    async def _work(self, number: int) -> None:
        while not self._stopping:
            key, waited = await self._queue.get()
            if key == CANARY_KEY:
                self._canary.came_back()
                self._queue.done(key)
                continue
            current_key.set(str(key))
            current_reconcile.set(f"{next(self._numbers):x}")
            self._metrics.reconcile_wait.observe(waited)
            task = self._tasks[number]
            self._reconciling.add(task)
            try:
                await self._reconcile(key)
            finally:
                self._reconciling.discard(task)
            current_key.set("")
            current_reconcile.set("")

    async def _reconcile(self, key: Key) -> None:
        self._metrics.reconciles.inc()
        begun = time.monotonic()
        again: float | None = None
        failure = ""
        try:
            again = await self._reconciler.reconcile(key)
        except (KubeError, ReconcileFailed) as error:
            failure = type(error).__name__
            pause = self._queue.done(key, failed=True)
            log.warning("Reconcile failed, trying again in %.1f s: %s", pause, error)
        except Exception:
            failure = "Unexpected"
            pause = self._queue.done(key, failed=True)
            log.exception("Reconcile broke, trying again in %.1f s; please report this", pause)
        except asyncio.CancelledError:
            self._queue.done(key)
            raise
        finally:
            self._metrics.reconcile_seconds.observe(time.monotonic() - begun)
        if failure:
            self._metrics.reconcile_errors.labels(failure).inc()
            return
        self._queue.done(key)
        if self._reconciler.knows(key):
            # With jitter, so that keys do not come in a crowd for ever because they were created in one.
            resync = self._resync_seconds * random.uniform(0.9, 1.1)
            self._queue.add_after(key, resync if again is None else min(again, resync))
        else:
            self._queue.forget(key)
            self._metrics.forget(key)

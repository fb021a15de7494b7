"""Wires the parts together and runs them; the order of start and end is written out here.

The process keeps nothing that the API server or Redis does not know as well, so it may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from jobworker.protocol.cancellation import end
from jobworker_operator.act.actor import Actor
from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.closing import Closing
from jobworker_operator.act.events import EventRecorder
from jobworker_operator.act.expectations import Expectations
from jobworker_operator.act.status import StatusWriter
from jobworker_operator.kube.access import Access, load_access
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import KubeError, NotFound
from jobworker_operator.model.facts import PodFacts, RemovalReason
from jobworker_operator.model.spec import Key
from jobworker_operator.observe.activity import ActivityObserver
from jobworker_operator.observe.addresses import Addresses
from jobworker_operator.observe.jobworkers import JobWorkerStore
from jobworker_operator.observe.pods import PodStore
from jobworker_operator.runtime.health import Canary, HealthServer, measure_lag
from jobworker_operator.runtime.jobworker_events import watch_jobworkers
from jobworker_operator.runtime.metrics import Metrics, StateCollector
from jobworker_operator.runtime.queue import WorkQueue
from jobworker_operator.runtime.reconcile import Reconciler
from jobworker_operator.runtime.settings import Settings
from jobworker_operator.runtime.workers import CANARY_KEY, Workers

log = logging.getLogger(__name__)

FINISH_SECONDS = 5.0  # what reconciles that are under way may still take at the end
FLUSH_SECONDS = 2.0  # for Events that wait; whoever reads them can live without the last ones
_AGAIN_SECONDS = 5.0
_KOPF = "kopf"


class Operator:
    """All parts of one process."""

    def __init__(self, settings: Settings, kube: Kube, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._now = kube.now
        self.queue = WorkQueue()
        self.expectations = Expectations()
        self.jobworkers = JobWorkerStore(kube, settings.scopes, self.queue.add)
        self.pods = PodStore(kube, settings.scopes, self._pod_changed)
        self.activity = ActivityObserver(self.jobworkers, self.pods, Addresses(kube), self.queue.add)
        budget = WriteBudget()
        self.events = EventRecorder(kube, budget, settings.instance, Closing())
        actor = Actor(
            kube,
            self.events,
            budget,
            self.expectations,
            learn=self.jobworkers.put_own,
            shown=self.pods.get,
            on_delete=self._pod_deleted,
        )
        status = StatusWriter(kube, budget, self.jobworkers.put_own)
        self.reconciler = Reconciler(
            self.jobworkers, self.pods, self.activity, actor, status, self.expectations, kube.now
        )
        self.canary = Canary(lambda: self.queue.add(CANARY_KEY))
        self.workers = Workers(
            self.queue, self.reconciler, metrics, self.canary,
            count=settings.workers, resync_seconds=settings.resync_seconds,
        )  # fmt: skip
        self.kopf_ready = asyncio.Event()
        metrics.registry.register(
            StateCollector(self.queue, self.pods, self.activity.watches.values, lambda: self.reconciler.snapshots)
        )

    def waiting_for(self) -> dict[str, bool]:
        """What was not read yet."""
        return {
            "the list of JobWorkers": not self.jobworkers.listed,
            "the list of pods": not self.pods.synced,
            "the watch of JobWorkers": not self.kopf_ready.is_set(),
        }

    async def first_list(self) -> None:
        """Read all JobWorkers once, however long it takes until that is possible."""
        while not self.jobworkers.listed:
            try:
                await self.jobworkers.sweep()
            except NotFound:
                log.error(  # noqa: TRY400  # a traceback tells nobody what to do
                    "The API server knows no JobWorkers: apply crds/jobworkers.jobworker.dev.yaml, or set crds.install "
                    "in the chart; looking again in %g s",
                    _AGAIN_SECONDS,
                )
                await asyncio.sleep(_AGAIN_SECONDS)
            except KubeError as error:
                log.warning("Cannot list JobWorkers, trying again in %g s: %s", _AGAIN_SECONDS, error)
                await asyncio.sleep(_AGAIN_SECONDS)

    def _pod_changed(self, key: Key, uid: str, pod: PodFacts | None) -> None:
        self.expectations.observed(key, uid, pod)
        if pod is None:
            self.activity.vanished(key, uid)
        elif pod.ended or pod.never_ran:
            # The jobs of a dead one wait for a rescue, and a new one that nobody has looked up is an unknown one, which
            # is busy: Redis is asked now, not at the next tick.
            self.activity.look_soon(key)
        self.queue.add(key)

    def _pod_deleted(self, key: Key, pod: PodFacts, reason: RemovalReason) -> None:
        drained_at = self.activity.drained_at(key, pod.uid)
        if drained_at is not None:
            self.metrics.drained_to_delete.observe(time.monotonic() - drained_at)
        if pod.removal is not None:
            self.metrics.drain_seconds.labels(reason).observe(max(0.0, self._now() - pod.removal.since))
        self.metrics.drains.labels(key.namespace, key.name, reason).inc()


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (exit code 0), or until something breaks that a new process would mend (1)."""
    stop = asyncio.Event()
    _on_signals(stop)
    access = await load_access()
    async with AsyncExitStack() as stack:
        metrics = Metrics(settings.instance)
        kube = await stack.enter_async_context(Kube(access, on_call=metrics.on_call))
        operator = Operator(settings, kube, metrics)
        health = HealthServer(settings.http_port, metrics.registry, operator.canary, operator.waiting_for)
        port = await health.start()
        stack.push_async_callback(health.close)
        scope = ", ".join(settings.namespaces) or "all namespaces"
        log.info("Serving %s of %s; health and metrics on port %d", scope, access.server, port)
        return await _run(operator, access, stop)


async def _run(operator: Operator, access: Access, stop: asyncio.Event) -> int:
    stopped = asyncio.create_task(stop.wait(), name="signal")
    # Before kopf, which cancels whatever is younger than itself when it ends.
    loops = [
        _named(operator.pods.run(), "pods"),
        _named(operator.events.run(), "events"),
        _named(measure_lag(operator.metrics.loop_lag.set), "loop lag"),
        _named(operator.canary.run(), "canary"),
    ]
    try:
        begin = _named(_begin(operator), "first lists")
        await asyncio.wait([stopped, begin, *loops], return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return 0
        if begin.done() and begin.exception() is None:
            loops += [
                # Decisions begin when all there is has been read: an empty memory would create pods a second time.
                _named(operator.activity.run(), "activity"),
                _named(operator.workers.run(), "workers"),
                _named(operator.jobworkers.run(), "JobWorker lists"),
            ]
            watching = watch_jobworkers(access, operator.jobworkers, operator.settings, operator.kopf_ready)
            # The last of the loops, so that it is cancelled after what it would cancel itself.
            loops += [_named(_take_back_signals(operator.kopf_ready, stop), "signals"), _named(watching, _KOPF)]
            await asyncio.wait([stopped, *loops], return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                log.info("Told to stop; pods and jobs go on without an operator")
                return 0
            return _broken(loops)
        return _broken([begin, *loops])
    finally:
        # Reconciles first, while what they need still runs; then everything else.
        await operator.workers.stop(FINISH_SECONDS)
        await end((stopped, *loops))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await operator.events.flush()


async def _begin(operator: Operator) -> None:
    await operator.first_list()
    await operator.pods.wait_synced()


async def _take_back_signals(kopf_ready: asyncio.Event, stop: asyncio.Event) -> None:
    # kopf's own handlers would end it first, and then it waits five seconds for whatever is younger than itself.
    await kopf_ready.wait()
    _on_signals(stop)
    await asyncio.Event().wait()


def _on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _named(running: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(running, name=name)


def _broken(tasks: list[asyncio.Task[None]]) -> int:
    for task in tasks:
        if not task.done():
            continue
        error = None if task.cancelled() else task.exception()
        if task.get_name() == _KOPF:
            # Any error on its watch but 410 ends it. That is no defect of ours, so no traceback.
            log.error("The watch of JobWorkers broke (%s), so the operator ends and starts anew", error)
        else:
            log.error(
                "%s ended, so the operator ends and starts anew; please report this", task.get_name(), exc_info=error
            )
    return 1

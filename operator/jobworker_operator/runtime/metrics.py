"""The operator's metrics.

What belongs to a JobWorker is collected from memory at a scrape, so that the series of a deleted one end with it.
"""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobworker_operator.model.facts import QueueFacts
from jobworker_operator.model.spec import Key
from jobworker_operator.observe.pods import PodStore
from jobworker_operator.observe.redis_watch import RedisWatch
from jobworker_operator.plan.drain import PodState
from jobworker_operator.runtime.queue import WorkQueue

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DRAIN = (1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)

_OBJECT = ["namespace", "jobworker"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the last reconcile of a JobWorker saw. ``reconciled_at`` is epoch seconds."""

    states: Mapping[PodState, int] = field(default_factory=Tally)
    desired: int = 0
    queues: tuple[QueueFacts, ...] = ()
    paused_jobs: int = 0
    conditions: Mapping[str, bool] = field(default_factory=dict)
    reconciled_at: float = 0.0


class Metrics:
    """All of them, in one registry."""

    def __init__(self, instance: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one bare
        self.registry = CollectorRegistry()
        registry, prefix = self.registry, "jobworker_operator"
        ProcessCollector(registry=registry)
        Gauge(
            f"{prefix}_build_info", "Versions of this operator.", ["version", "python_version", "kopf_version"],
            registry=registry,
        ).labels(version("jobworker-operator"), platform.python_version(), version("kopf")).set(1)  # fmt: skip
        self.instance = instance
        self.reconciles = Counter(f"{prefix}_reconciles_total", "Reconciles begun.", registry=registry)
        self.reconcile_errors = Counter(
            f"{prefix}_reconcile_errors_total", "Reconciles that failed.", ["reason"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            f"{prefix}_reconcile_duration_seconds", "Time of one reconcile.", buckets=FAST, registry=registry
        )
        self.reconcile_wait = Histogram(
            f"{prefix}_reconcile_wait_seconds", "From an event to the start of its reconcile.", buckets=FAST,
            registry=registry,
        )  # fmt: skip
        self.calls = Counter(
            f"{prefix}_kube_api_requests_total", "Calls to the API server; code 0 is no answer.",
            ["verb", "resource", "code"], registry=registry,
        )  # fmt: skip
        self.call_seconds = Histogram(
            f"{prefix}_kube_api_request_duration_seconds", "Time of a call to the API server.", ["verb"], buckets=FAST,
            registry=registry,
        )  # fmt: skip
        self.loop_lag = Gauge(
            f"{prefix}_loop_lag_seconds", "How late the event loop was at its last look.", registry=registry
        )
        self.drained_to_delete = Histogram(
            "jobworker_drained_to_delete_seconds", "From a pod seen drained to its accepted deletion.", buckets=FAST,
            registry=registry,
        )  # fmt: skip
        self.drain_seconds = Histogram(
            "jobworker_drain_duration_seconds", "From the wish to remove a pod to its accepted deletion.", ["reason"],
            buckets=DRAIN, registry=registry,
        )  # fmt: skip
        self.drains = Counter(
            "jobworker_drains_finished_total", "Pods deleted after their drain.", [*_OBJECT, "reason"],
            registry=registry,
        )  # fmt: skip

    def on_call(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count a call to the API server."""
        self.calls.labels(verb, resource, str(status)).inc()
        if verb != "watch":
            self.call_seconds.labels(verb).observe(seconds)

    def forget(self, key: Key) -> None:
        """End the series of a JobWorker that is gone."""
        self.drains.remove_by_labels({"namespace": key.namespace, "jobworker": key.name})


class StateCollector(Collector):
    """What is known at the moment of a scrape: queue, reflectors, Redis, JobWorkers."""

    def __init__(
        self,
        queue: WorkQueue,
        pods: PodStore,
        watches: Callable[[], Iterable[RedisWatch]],
        snapshots: Callable[[], Mapping[Key, Snapshot]],
    ) -> None:
        self._queue = queue
        self._pods = pods
        self._watches = watches
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Every family, newly made."""
        yield from self._own()
        yield from self._redis()
        yield from self._objects()

    def _own(self) -> Iterator[Metric]:
        prefix = "jobworker_operator"
        yield _plain(f"{prefix}_reconciles_pending", "Keys in line.", self._queue.depth)
        yield _plain(f"{prefix}_reconciles_in_progress", "Keys being worked on.", self._queue.in_progress)
        yield _plain(f"{prefix}_reconciles_pending_oldest_seconds", "Wait of the oldest.", self._queue.oldest_seconds)
        yield _plain(f"{prefix}_pods_known", "Pods mirrored.", sum(len(each.items) for each in self._pods.reflectors))
        heard = min(each.heard_at for each in self._pods.reflectors)
        at = time.time() - (time.monotonic() - heard)
        yield _plain(f"{prefix}_reflector_heard_timestamp_seconds", "Last sign of life of the pod watch.", at)
        lists = Metric(f"{prefix}_watch_restarts", "Lists of pods, the first one included.", "counter")
        lists.add_sample(
            f"{prefix}_watch_restarts_total", {"resource": "pods"}, sum(each.lists for each in self._pods.reflectors)
        )
        yield lists

    def _redis(self) -> Iterator[Metric]:
        prefix = "jobworker_operator_redis"
        up = GaugeMetricFamily(f"{prefix}_up", "1 while the Redis answers.", labels=["connection"])
        seconds = GaugeMetricFamily(f"{prefix}_look_seconds", "Time of the last good look.", labels=["connection"])
        errors = Metric(f"{prefix}_errors", "Looks that failed.", "counter")
        for watch in self._watches():
            up.add_metric([watch.shown], float(watch.health.up))
            seconds.add_metric([watch.shown], watch.health.seconds)
            errors.add_sample(f"{prefix}_errors_total", {"connection": watch.shown}, watch.health.errors)
        yield from (up, seconds, errors)

    def _objects(self) -> Iterator[Metric]:
        pods = GaugeMetricFamily("jobworker_pods", "Pods by state.", labels=[*_OBJECT, "state"])
        desired = GaugeMetricFamily("jobworker_replicas_desired", "Pods that there shall be.", labels=_OBJECT)
        condition = GaugeMetricFamily(
            "jobworker_status_condition", "1 while the condition is true.", labels=[*_OBJECT, "condition"]
        )
        at = GaugeMetricFamily(
            "jobworker_last_reconcile_success_timestamp_seconds", "Last reconcile without an error.", labels=_OBJECT
        )
        labels = [*_OBJECT, "queue"]
        depth = GaugeMetricFamily("jobworker_queue_depth", "Jobs that wait.", labels=labels)
        latency = GaugeMetricFamily("jobworker_queue_latency_seconds", "Age of the oldest job.", labels=labels)
        paused = GaugeMetricFamily("jobworker_queue_paused", "1 while the queue is paused.", labels=labels)
        resting = GaugeMetricFamily(
            "jobworker_paused_jobs", "Jobs in its Redis that rest until they are resumed.", labels=_OBJECT
        )
        for key, snapshot in self._snapshots().items():
            names = [key.namespace, key.name]
            for state in PodState:
                pods.add_metric([*names, state.value.lower()], snapshot.states.get(state, 0))
            desired.add_metric(names, snapshot.desired)
            at.add_metric(names, snapshot.reconciled_at)
            resting.add_metric(names, snapshot.paused_jobs)
            for kind, value in snapshot.conditions.items():
                condition.add_metric([*names, kind], float(value))
            for queue in snapshot.queues:
                depth.add_metric([*names, queue.name], queue.depth)
                latency.add_metric([*names, queue.name], queue.latency_seconds)
                paused.add_metric([*names, queue.name], float(queue.paused))
        yield from (pods, desired, condition, at, depth, latency, paused, resting)


def conditions_of(status: Mapping[str, Any] | None) -> dict[str, bool]:
    """Which conditions of a status are true."""
    conditions = (status or {}).get("conditions") or ()
    return {condition["type"]: condition["status"] == "True" for condition in conditions}


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

"""What a user asks for: the spec of a JobWorker, parsed and with every default filled in.

The API server's schema has checked types and bounds; what reaches here and still cannot work becomes an
`InvalidSpec` whose text stands in the status, never a crash and never a deletion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Order = Literal["Strict", "Weighted"]
WaitFor = Literal["Jobs", "Checkpoint"]
ScalingMode = Literal["Auto", "Off"]


class InvalidSpec(Exception):  # it is the state of an object, shown to its user, before it is an error
    """A spec that passed the schema and cannot work. The message says which field to change, and how."""


class Key(NamedTuple):
    """Name of a JobWorker: what the work queue carries."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of pods, or a share of the replicas in percent."""

    value: int
    percent: bool = False

    def of(self, replicas: int, *, round_up: bool) -> int:
        """Pods that this is of ``replicas``. Kubernetes rounds maxSurge up and maxUnavailable down."""
        if not self.percent:
            return self.value
        share = replicas * self.value / 100
        return math.ceil(share) if round_up else math.floor(share)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue and its weight (1 to 100; without meaning in strict order)."""

    name: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How the processes in the pods work."""

    queues: tuple[QueueSpec, ...]
    order: Order = "Weighted"
    concurrency: int = 10
    runtime: Literal["Native"] = "Native"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the JobWorker's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class RedisSpec:
    """Where the queues are: exactly one of ``url`` and ``secret``."""

    url: str | None = None
    secret: SecretKey | None = None
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How old pods are replaced."""

    max_surge: Amount = Amount(25, percent=True)
    max_unavailable: Amount = Amount(0)
    max_draining: int = 10
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    paused: bool = False


@dataclass(frozen=True, slots=True)
class DrainSpec:
    """What a pod that shall go waits for. There is no time limit."""

    wait_for: WaitFor = "Jobs"
    checkpoint_max_age_seconds: int = 60


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """How replicas follow the queues. ``max_replicas`` is meant only with Auto."""

    mode: ScalingMode = "Off"
    min_replicas: int = 1
    max_replicas: int = 1
    backlog_per_replica: int = 10
    scale_down_stabilization_seconds: int = 60


@dataclass(frozen=True, slots=True)
class JobWorkerSpec:
    """The whole spec. ``template`` is the pod template as JSON."""

    replicas: int
    worker: WorkerSpec
    redis: RedisSpec
    template: Mapping[str, Any]
    rollout: RolloutSpec = RolloutSpec()
    drain: DrainSpec = DrainSpec()
    scaling: ScalingSpec = ScalingSpec()


@dataclass(frozen=True, slots=True)
class JobWorker:
    """A JobWorker object as the API server holds it. ``spec`` is None where it is invalid, and ``problem`` says why."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    spec: JobWorkerSpec | None
    problem: str = ""
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)

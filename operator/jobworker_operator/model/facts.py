"""What is: pods as the API server shows them, workers as Redis shows them, queues.

Two witnesses are kept apart, because they may disagree; where they do, a worker is taken for busy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jobworker_operator.model.spec import JobWorker, RedisSpec

RemovalReason = Literal["Rollout", "ScaleIn", "Deleted", "Surplus", "Failed"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a pod shall go, and since when (epoch seconds). Kept in an annotation, so that a new operator goes on."""

    reason: RemovalReason
    since: float


@dataclass(frozen=True, slots=True)
class Crash:
    """How a container's last life ended, and it has to live again: the worker's, or an init container's before it.

    ``how`` is the kubelet's account ("Error, exit code 1"), ``words`` the last line that the container itself said,
    empty if the kubelet kept none.
    """

    container: str
    how: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod, trimmed to what decisions need. Times are epoch seconds of the API server's clock.

    ``container_running`` is the worker container's state now; ``container_started_at`` is when its present life
    began. ``waiting_reason`` and ``waiting_message`` are the kubelet's words for a container that cannot start
    (ImagePullBackOff, CrashLoopBackOff, CreateContainerConfigError …), ``waiting_container`` is the one they are about:
    the worker's, or an init container before it. ``unready_since`` is when the Ready condition last became False.
    ``disrupted``: the cluster ended it (evicted, preempted, its node shut down). ``redis`` is the address that the pod
    was made with, which may be older than the spec's; None where it cannot be told. ``container_ended`` is how the
    worker container's last life ended, in words; empty if it had none before. ``crash`` is the same of whichever
    container keeps the pod from its work. ``others_running``: a container beside the worker's runs.
    """

    uid: str
    name: str
    revision: str
    resource_version: str
    created_at: float
    phase: str = "Pending"
    scheduled: bool = False
    node: str = ""
    ready: bool = False
    ready_since: float | None = None
    terminating: bool = False
    container_running: bool = False
    container_started_at: float | None = None
    restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    removal: Removal | None = None
    unready_since: float | None = None
    terminating_since: float | None = None
    container_ever_started: bool = False
    waiting_container: str = ""
    unschedulable_message: str = ""
    status_reason: str = ""
    status_message: str = ""
    disrupted: bool = False
    redis: RedisSpec | None = None
    container_ended: str = ""
    crash: Crash | None = None
    others_running: bool = False

    @property
    def never_ran(self) -> bool:
        """No container of the worker was ever started, so it cannot have taken a job."""
        return self.phase == "Pending" and not (
            self.ready
            or self.restarts
            or self.container_running
            or self.container_ever_started
            or self.container_started_at is not None
        )

    @property
    def ended(self) -> bool:
        """It will never run again: evicted, failed or succeeded."""
        return self.phase in {"Failed", "Succeeded"}


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """A worker as its Redis shows it. ``epoch`` is None for one that is not registered.

    ``held`` is the truth about jobs that it holds; ``running`` its own count from its last beat. ``quiet`` is the
    reason, None if it takes jobs. ``checkpoint_age_seconds`` is the age of the oldest checkpoint among its held
    jobs, None where a held job has none.
    """

    epoch: str | None = None
    alive: bool = False
    held: int = 0
    running: int = 0
    quiet: str | None = None
    beat_age_seconds: float | None = None
    checkpoint_age_seconds: float | None = 0.0

    @property
    def busy(self) -> bool:
        """It holds a job, by either account."""
        return self.held > 0 or self.running > 0


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A queue: ``depth`` jobs, the oldest ``latency_seconds`` old."""

    name: str
    depth: int
    latency_seconds: float
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """One look at Redis. ``activities`` has an entry for each pod's UID and for each orphan.

    ``orphans`` are workers that registered for this JobWorker and have no pod any more: their jobs wait for a rescue.
    ``due_soon`` counts scheduled jobs and retries that become due within a minute: a reason not to have no worker.
    ``paused_jobs`` rest behind this prefix, whichever JobWorker ran them: nobody's work until they are resumed.
    """

    activities: Mapping[str, WorkerActivity]
    queues: tuple[QueueFacts, ...] = ()
    orphans: tuple[str, ...] = ()
    due_soon: int = 0
    paused_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Redis could not be read: everybody is taken for busy. ``problem`` is a sentence for the status."""

    reason: Literal["RedisUnreachable", "SecretMissing", "RedisAddressInvalid"]
    problem: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the scaling law once recommended, at ``at`` epoch seconds: the memory that stabilization needs."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one reconcile knows.

    ``now`` is epoch seconds. ``revision`` is the hash of what makes pods of the present spec different.
    ``settled`` is False while the reflector has not yet shown what was created, deleted or annotated before: then no
    pod is created, deleted or newly drained, for it might be done twice, or to one too many. ``history`` holds
    recommendations of the stabilization window, ``watching_since`` is when this process began to remember (a new
    process holds scale-in for a whole window).
    """

    now: float
    jobworker: JobWorker
    revision: str
    pods: tuple[PodFacts, ...]
    redis: RedisFacts | Unreadable
    settled: bool = True
    history: tuple[Recommendation, ...] = ()
    watching_since: float = 0.0
    problems: tuple[str, ...] = field(default=())
    """Sentences about writes that failed lately, e.g. a template that the API server refuses."""

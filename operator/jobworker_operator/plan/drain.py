"""The life of a pod as one state, and what follows for a pod that shall go.

The API server and Redis are two witnesses. Where one is silent or they disagree the state is Unknown, and *unknown is
busy*: such a pod is never deleted and never chosen for scale-in. A pod is deleted only when it is Drained, and even
then `act` asks Redis once more, with the epoch that was looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from jobworker_operator.model.actions import Action, DeletePod, Event, QuietPod, RetirePod, UnquietPod
from jobworker_operator.model.facts import (
    Observation,
    PodFacts,
    RedisFacts,
    Removal,
    RemovalReason,
    Unreadable,
    WorkerActivity,
)
from jobworker_operator.model.names import OPERATOR_QUIET
from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.model.words import counted

_REASONS: tuple[RemovalReason, ...] = get_args(RemovalReason)

CANNOT_START = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "PostStartHookError",
        "PreCreateHookError",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
"""The kubelet's words for a container that will not start without somebody's help."""


class PodState(StrEnum):
    """Where a pod is between its creation and its end."""

    STARTING = "Starting"
    """Not yet registered in Redis in this life, so it holds nothing."""
    IDLE = "Idle"
    BUSY = "Busy"
    QUIET = "Quiet"
    """It takes no more jobs and still holds some."""
    DRAINED = "Drained"
    """Quiet, and it holds nothing that has to be waited for."""
    DELETING = "Deleting"
    UNKNOWN = "Unknown"
    LOST = "Lost"
    """It will never run again: evicted, failed or succeeded."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pod of the JobWorker with all that is known of it.

    ``removal`` is why it shall go, by its annotation or else by the operator's own quiet reason. ``available`` means
    that it takes jobs now, and did for minReadySeconds.
    """

    pod: PodFacts
    state: PodState
    activity: WorkerActivity | None
    removal: Removal | None
    updated: bool
    available: bool

    @property
    def draining(self) -> bool:
        """It is on its way out, and no longer one of the replicas."""
        return self.state is not PodState.LOST and (self.removal is not None or self.pod.terminating)

    @property
    def replica(self) -> bool:
        """It counts towards the size."""
        return self.state is not PodState.LOST and not self.draining

    @property
    def cannot_start(self) -> bool:
        """The kubelet says that its container will not start by itself."""
        return self.replica and stands_still(self.pod)

    @property
    def crashed(self) -> bool:
        """Its container ended and has not been ready since: in back-off, or in the next life that may end as well."""
        return self.replica and self.pod.crash is not None and not (self.pod.ready or _served_in_this_life(self.pod))

    @property
    def over(self) -> bool:
        """Its work is done. One that may be cut at its checkpoints still holds jobs until its deletion is confirmed."""
        return self.state in {PodState.DELETING, PodState.LOST} or (self.state is PodState.DRAINED and self.jobs == 0)

    @property
    def jobs(self) -> int:
        """Jobs that it holds, by the account that counts more."""
        return 0 if self.activity is None else max(self.activity.held, self.activity.running)


@dataclass(frozen=True, slots=True)
class Census:
    """All pods of a JobWorker, the oldest first. ``readable`` tells whether Redis could be asked about them."""

    members: tuple[Member, ...]
    readable: bool

    @property
    def replicas(self) -> tuple[Member, ...]:
        """What counts towards the size: neither draining nor ended."""
        return tuple(member for member in self.members if member.replica)

    @property
    def updated(self) -> tuple[Member, ...]:
        """Replicas of the wanted revision."""
        return tuple(member for member in self.replicas if member.updated)

    @property
    def old(self) -> tuple[Member, ...]:
        """Replicas of any other revision."""
        return tuple(member for member in self.replicas if not member.updated)

    @property
    def draining(self) -> tuple[Member, ...]:
        """Pods on their way out, terminating ones too."""
        return tuple(member for member in self.members if member.draining)

    @property
    def lost(self) -> tuple[Member, ...]:
        """Pods that ended."""
        return tuple(member for member in self.members if member.state is PodState.LOST)

    @property
    def finishing(self) -> int:
        """Pods that were told to go and still hold work: what maxDraining bounds."""
        return sum(member.removal is not None and not member.over for member in self.members)


def take_census(observation: Observation) -> Census:
    """Every pod in its state."""
    spec = observation.jobworker.spec
    drain = DrainSpec() if spec is None else spec.drain
    min_ready = 0 if spec is None else spec.rollout.min_ready_seconds
    activities = observation.redis.activities if isinstance(observation.redis, RedisFacts) else {}
    readable = isinstance(observation.redis, RedisFacts)
    members = []
    for pod in sorted(observation.pods, key=lambda pod: (pod.created_at, pod.name, pod.uid)):
        activity = activities.get(pod.uid)
        state = state_of(pod, activity, drain)
        removal = pod.removal or _removal_by_quiet(activity)
        # Readiness is stamped by the node's clock, which may be ahead: without minReadySeconds it has no say.
        lasted = min_ready == 0 or observation.now - (pod.ready_since or pod.created_at) >= min_ready
        ready = pod.ready and lasted
        # Without Redis the kubelet's word has to do: nobody is quieted on it, it only says how things stand.
        serving = state in {PodState.IDLE, PodState.BUSY} or not (readable or pod.terminating or pod.ended)
        available = ready and serving and removal is None
        members.append(Member(pod, state, activity, removal, pod.revision == observation.revision, available))
    return Census(tuple(members), readable)


def state_of(pod: PodFacts, activity: WorkerActivity | None, drain: DrainSpec) -> PodState:  # noqa: PLR0911  # one answer for each case
    """The state that both witnesses agree on, else Unknown. ``activity`` None: Redis told nothing about the pod."""
    if pod.terminating:
        return PodState.DELETING
    if pod.ended:
        return PodState.LOST
    if activity is None:
        return PodState.STARTING if pod.never_ran else PodState.UNKNOWN
    if activity.epoch is None:
        if activity.busy or _served_in_this_life(pod):
            return PodState.UNKNOWN  # Redis lost the record of a worker that may well be at work
        return PodState.STARTING if activity.quiet is None else PodState.DRAINED
    if not (pod.container_running and activity.alive):
        return PodState.UNKNOWN
    if activity.quiet is not None:
        return PodState.DRAINED if _nothing_to_wait_for(activity, drain) else PodState.QUIET
    return PodState.BUSY if activity.busy else PodState.IDLE


def stands_still(pod: PodFacts) -> bool:
    """The kubelet says that its container does not run, and will not without somebody's help or before a pause."""
    return not pod.container_running and pod.waiting_reason in CANNOT_START


def runs_nothing(pod: PodFacts) -> bool:
    """No process of it could be cut. A container beside the worker's counts once the worker may have used it."""
    return stands_still(pod) and (pod.never_ran or not pod.others_running)


def _served_in_this_life(pod: PodFacts) -> bool:
    """Its container has been ready since it started, and readiness needs a registered worker."""
    if not pod.container_running:
        return False
    if pod.ready or pod.unready_since is None:
        return pod.ready
    return pod.container_started_at is None or pod.unready_since > pod.container_started_at


def _nothing_to_wait_for(activity: WorkerActivity, drain: DrainSpec) -> bool:
    if not activity.busy:
        return True
    # A count of its own that is higher than what Redis knows is a sign that Redis forgot something.
    age = activity.checkpoint_age_seconds
    return (
        drain.wait_for == "Checkpoint"
        and activity.held > 0
        and activity.running <= activity.held
        and age is not None
        and age <= drain.checkpoint_max_age_seconds
    )


def _removal_by_quiet(activity: WorkerActivity | None) -> Removal | None:
    """The removal of a pod that an operator quieted and could not annotate before it ended."""
    if activity is None or activity.quiet is None or not activity.quiet.startswith(OPERATOR_QUIET):
        return None
    told = activity.quiet.removeprefix(OPERATOR_QUIET)
    return Removal(next((reason for reason in _REASONS if reason == told), "Surplus"), 0.0)


def delete(member: Member, drain: DrainSpec, reason: RemovalReason, now: float) -> DeletePod:
    """Delete a drained pod, if Redis agrees at that moment."""
    since = member.removal.since if member.removal is not None else 0.0
    waited = f" after {now - since:.0f} s" if since else ""
    return DeletePod(
        uid=member.pod.uid,
        name=member.pod.name,
        resource_version=member.pod.resource_version,
        reason=reason,
        epoch=None if member.activity is None else member.activity.epoch,
        checkpoint_max_age_seconds=drain.checkpoint_max_age_seconds if drain.wait_for == "Checkpoint" else None,
        event=Event("PodDeleted", f"Deleted pod {member.pod.name}, which had drained{waited} ({reason})"),
    )


def delete_unconfirmed(member: Member, reason: RemovalReason, why: str) -> DeletePod:
    """Delete a pod in which nothing runs: its container never did, does not now, or never will again.

    RACE a container may start between the look and the DELETE. Its start changes the pod's status and so its
    resourceVersion, and then the DELETE is refused. In the moment in which it runs and the kubelet has not told yet,
    the DELETE ends it like any pod that somebody deletes: SIGTERM, a grace period, and what it took goes back.
    """
    return DeletePod(
        uid=member.pod.uid,
        name=member.pod.name,
        resource_version=member.pod.resource_version,
        reason=reason,
        epoch=None,
        unconfirmed=True,
        event=Event("PodDeleted", f"Deleted pod {member.pod.name}, which {why} ({reason})"),
    )


def retire(member: Member, reason: RemovalReason) -> RetirePod:
    """Ask an idle or starting pod to go."""
    if member.pod.never_ran:
        was = "had not started and will take no jobs"
    elif member.state is PodState.STARTING:
        was = "had not registered in Redis and will take no jobs"
    else:
        was = "was idle and takes no more jobs"
    event = Event("PodRetired", f"Pod {member.pod.name} {was} ({reason})")
    return RetirePod(member.pod.uid, member.pod.name, reason, event)


def quiet(member: Member, reason: RemovalReason) -> QuietPod:
    """Let a busy pod finish what it holds."""
    held = "unknown work" if member.state is PodState.UNKNOWN else counted(member.jobs, "job")
    event = Event("PodQuieted", f"Pod {member.pod.name} takes no more jobs and finishes {held} ({reason})")
    return QuietPod(member.pod.uid, member.pod.name, reason, event)


def continue_drain(member: Member, drain: DrainSpec, now: float, *, deleting: bool = False) -> Iterator[Action]:
    """The next step of a pod whose removal has begun, by this process or by one before it."""
    removal, activity = member.removal, member.activity
    if removal is None or activity is None or member.pod.terminating or member.pod.ended:
        return
    reason: RemovalReason = "Deleted" if deleting else removal.reason
    if member.state is PodState.DRAINED:
        yield delete(member, drain, reason, now)
    elif not member.pod.scheduled and member.pod.never_ran:
        yield delete_unconfirmed(member, reason, "was never scheduled")
    elif activity.quiet is None:
        yield from _quiet_again(member, reason, deleting=deleting)
    elif member.pod.removal is None:
        yield QuietPod(member.pod.uid, member.pod.name, reason)  # writes the annotation that is missing


def _quiet_again(member: Member, reason: RemovalReason, *, deleting: bool) -> Iterator[Action]:
    """Redis forgot that the pod is quiet. It may have taken a job since: then scale-in looks for another pod."""
    if reason in {"ScaleIn", "Surplus"} and not deleting:
        if member.state is PodState.BUSY:
            yield UnquietPod(member.pod.uid, member.pod.name)
        elif member.state is not PodState.UNKNOWN:
            yield RetirePod(member.pod.uid, member.pod.name, reason)
    else:
        yield QuietPod(member.pod.uid, member.pod.name, reason)


def waiting_for(member: Member, redis: RedisFacts | Unreadable, drain: DrainSpec, *, brief: bool = False) -> str:  # noqa: PLR0911  # one answer for each case
    """What a pod that shall go still waits for, to be read after "waits for"."""
    activity = member.activity
    if member.pod.terminating:
        return "the kubelet to end it"
    if activity is None:
        return redis.problem if isinstance(redis, Unreadable) else "an answer from Redis about it"
    jobs = counted(member.jobs, "job")
    match member.state:
        case PodState.QUIET if drain.wait_for == "Checkpoint":
            checkpoints = "a checkpoint" if member.jobs == 1 else "checkpoints"
            age = "" if brief else f" (at most {drain.checkpoint_max_age_seconds} s old)"
            return f"{jobs} to end, or to save {checkpoints}{age}"
        case PodState.QUIET:
            return f"{jobs} to end"
        case PodState.DRAINED:
            return "its deletion"
        case PodState.UNKNOWN if activity.epoch is None:
            return "its worker to register in Redis again; until then it is taken for busy"
        case PodState.UNKNOWN if not member.pod.container_running:
            return "the jobs of its dead container to be given back"
        case PodState.UNKNOWN:
            return "a heartbeat of its worker; until then it is taken for busy"
        case _:
            return "its worker to be quieted"

"""What the operator decides to do: values that can be printed, stored, replayed and tested.

Order within a plan is the order in which it is carried out. An action's ``event`` is posted once the action was done:
whether an idle pod could be retired or a drained one deleted is only known by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobworker_operator.model.facts import Recommendation, RemovalReason


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the JobWorker: a reason in CamelCase and a sentence."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create one pod of ``revision`` from the present template."""

    revision: str


@dataclass(frozen=True, slots=True)
class RetirePod:
    """Ask an idle pod to go: quiet only if it holds nothing at that moment; else nothing changes."""

    uid: str
    name: str
    reason: RemovalReason
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class QuietPod:
    """Let a pod take no more jobs, whatever it holds; it is deleted when it has drained."""

    uid: str
    name: str
    reason: RemovalReason
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class UnquietPod:
    """The reason is withdrawn: the pod takes jobs again."""

    uid: str
    name: str
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod that looks drained, after ``confirm_drained`` says so for life ``epoch``, with preconditions.

    ``checkpoint_max_age_seconds`` lets held jobs be cut whose checkpoints are younger, None lets none.
    ``unconfirmed`` skips the question to Redis: only for pods whose containers never started, have ended for good, or
    stand still in back-off while Redis cannot be asked. They hold nothing that a rescue would not give back.
    """

    uid: str
    name: str
    resource_version: str
    reason: RemovalReason
    epoch: str | None
    checkpoint_max_age_seconds: float | None = None
    unconfirmed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class RescueWorker:
    """Give back what a dead worker held. ``epoch`` None: its pod is gone for ever, whatever life it was in.

    ``planned``: somebody ended it on purpose, so no job is to blame.
    """

    uid: str
    epoch: str | None
    planned: bool
    forget: bool
    cause: str


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Write spec.replicas, as an autoscaler would."""

    replicas: int
    reason: str
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the JobWorker until its pods have drained."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the JobWorker go."""


Action = (
    CreatePod
    | RetirePod
    | QuietPod
    | UnquietPod
    | DeletePod
    | RescueWorker
    | SetReplicas
    | AddFinalizer
    | RemoveFinalizer
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to an Observation: what to do, what to say, when to look again.

    ``status`` is the whole .status to write if it differs from the one that stands there. ``look_again_seconds``
    is None when nothing is expected to change by itself.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = ()
    look_again_seconds: float | None = None
    recommendation: Recommendation | None = None

"""The conditions of a JobWorker, with a fixed set of reasons.

Ready is what `kubectl wait --for=condition=Ready` asks for: every desired replica is of the wanted revision and
available. Old pods that finish their jobs do not block it; observedGeneration tells whether it speaks of the present
spec. Messages name no ages and no counts that move by themselves, so that nothing is written while nothing happens.
"""

from __future__ import annotations

from typing import Any, Literal

from jobworker_operator.model.times import to_rfc3339
from jobworker_operator.plan.situation import Situation, more

Verdict = tuple[Literal["True", "False", "Unknown"], str, str]
"""status, reason, message"""


def conditions(situation: Situation) -> list[dict[str, Any]]:
    """All conditions; lastTransitionTime moves only when the status of one changes."""
    verdicts: dict[str, Verdict] = {
        "Ready": ready(situation),
        "Progressing": progressing(situation),
        "Degraded": degraded(situation),
        "Draining": draining(situation),
        "ScalingActive": scaling_active(situation),
    }
    before = {condition["type"]: condition for condition in situation.before.get("conditions") or ()}
    now = to_rfc3339(situation.observation.now)
    written = []
    for kind, (status, reason, message) in verdicts.items():
        last = before.get(kind, {})
        since = last.get("lastTransitionTime") if last.get("status") == status else None
        written.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since or now,
                "observedGeneration": situation.observation.jobworker.generation,
            }
        )
    return written


def ready(situation: Situation) -> Verdict:
    """Does the present spec do all of its work?"""
    desired, available = situation.desired, situation.updated_available
    if situation.observation.jobworker.deleting:
        return "False", "Deleting", "The JobWorker is being deleted"
    if situation.spec is None:
        return "False", "InvalidSpec", situation.observation.jobworker.problem
    if situation.complete:
        return "True", "ReplicasAvailable", f"{desired} of {desired} replicas are available"
    if situation.rolling:
        reason = "RolloutPaused" if situation.spec.rollout.paused else "RollingOut"
        return (
            "False",
            reason,
            f"{available} of {desired} replicas are of revision {_revision(situation)} and available",
        )
    return "False", "ReplicasUnavailable", f"{available} of {desired} replicas are available"


def progressing(situation: Situation) -> Verdict:  # noqa: PLR0911  # one answer for each case
    """Does the cluster get closer to the spec?"""
    spec, late = situation.spec, situation.late
    if situation.holding:
        return "False", "DeletionHeld", _held(situation)
    if situation.observation.jobworker.deleting:
        return "False", "Deleting", "The JobWorker is being deleted"
    if spec is None:
        return "False", "InvalidSpec", "Nothing is changed until the spec is mended"
    if situation.complete:
        return "True", "RolloutComplete", f"All replicas are of revision {_revision(situation)}"
    if spec.rollout.paused and situation.rolling:
        return "Unknown", "RolloutPaused", "spec.rollout.paused is true: old pods are not replaced"
    if late:
        message = (
            f"Not ready within {spec.rollout.progress_deadline_seconds} s: "
            f"{situation.why_not_started(late[0])}{more(len(late))}"
        )
        return "False", "ProgressDeadlineExceeded", message
    if situation.rolling:
        return "True", "RollingOut", f"Pods are replaced by pods of revision {_revision(situation)}"
    return "True", "WaitingForReplicas", "Pods are being started"


def degraded(situation: Situation) -> Verdict:  # noqa: PLR0911  # one answer for each case
    """Is something wrong that somebody should look at?"""
    failing, unregistered, problems = situation.failing, situation.unregistered, situation.observation.problems
    if situation.spec is None:
        return "True", "InvalidSpec", situation.observation.jobworker.problem
    if situation.unreadable is not None:
        return "True", situation.unreadable.reason, _blind(situation, situation.unreadable.problem)
    if problems:
        return "True", "WritesRefused", f"{problems[0]}{more(len(problems))}"
    if failing:
        return "True", "PodsCannotStart", f"{_sentence(situation.why_not_started(failing[0]))}{more(len(failing))}"
    if unregistered:
        why = _sentence(situation.why_not_registered(unregistered[0]))
        return "True", "NotRegistered", f"{why}{more(len(unregistered))}"
    if situation.unknown:
        return "True", "WorkersUnknown", _unknown(situation)
    return "False", "AsExpected", "Nothing is wrong"


def _blind(situation: Situation, problem: str) -> str:
    held = f". {_held(situation)}" if situation.holding else "; until then no pod is deleted, quieted or scaled in"
    failing = situation.failing
    # Its own words may well say what keeps the operator from Redis, too.
    besides = f". {_sentence(situation.why_not_started(failing[0]))}{more(len(failing))}" if failing else ""
    return f"{_sentence(problem.rstrip('.'))}{held}{besides}"


def _held(situation: Situation) -> str:
    names = f"{situation.holding[0].pod.name}{more(len(situation.holding))}"
    return (
        f"The deletion waits for pod {names}, of which nobody can tell whether it holds jobs. "
        f"To give it up: {situation.giving_up}; jobs that run there go back to their queues once Redis answers"
    )


def _unknown(situation: Situation) -> str:
    unknown = situation.unknown
    names = f"{unknown[0].pod.name}{more(len(unknown))}"
    message = f"No heartbeat in Redis from pod {names}, which runs; it is taken for busy. See its logs"
    if unknown[0].activity is not None and unknown[0].activity.epoch is None:
        message += ", and check that it is a worker (jobworker run APP) and works with the Redis of spec.redis"
    address = unknown[0].pod.redis
    if address is not None and address.secret is not None:
        message += (
            f". If the address in Secret {address.secret.name} was changed, the pod works with the one from before "
            "and nobody can see when it is done: delete it yourself, then it gives its jobs back"
        )
    return message


def draining(situation: Situation) -> Verdict:
    """Do pods finish their work before they go?"""
    count = len(situation.census.draining)
    if count == 0:
        return "False", "NoPodsDraining", "No pod is on its way out"
    pods = "1 pod finishes its work" if count == 1 else f"{count} pods finish their work"
    return "True", "PodsDraining", f"{pods}; see status.draining"


def scaling_active(situation: Situation) -> Verdict:
    """Do the queues decide about the size?"""
    if situation.observation.jobworker.deleting:
        return "False", "Deleting", "The JobWorker is being deleted"
    decision = situation.decision
    if decision is None:
        return "False", "InvalidSpec", "Nothing is changed until the spec is mended"
    return "True" if decision.active else "False", decision.condition_reason, decision.condition_message


def _revision(situation: Situation) -> str:
    return situation.observation.revision


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

"""Events that follow from a change of the status: told once, because the status remembers that they were.

What an action did is told by the action's own event, after it was done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobworker_operator.model.actions import Event
from jobworker_operator.model.words import counted
from jobworker_operator.plan.situation import Situation


def status_events(situation: Situation, status: Mapping[str, Any]) -> Iterator[Event]:
    """What is new in ``status``, compared to the one that stands there."""
    before = situation.before
    yield from _rollout(situation, before, status)
    yield from _size(situation, before, status)
    degraded_before, degraded = _condition(before, "Degraded"), _condition(status, "Degraded")
    if degraded["status"] == "True" and _verdict(degraded_before) != _verdict(degraded):
        yield Event(degraded["reason"], degraded["message"], "Warning")
    elif degraded["status"] == "False" and degraded_before.get("status") == "True":
        yield Event("Recovered", f"No longer {degraded_before.get('reason')}")
    late_before, late = _condition(before, "Progressing"), _condition(status, "Progressing")
    if late["reason"] in {"ProgressDeadlineExceeded", "DeletionHeld"} and _verdict(late_before) != _verdict(late):
        yield Event(late["reason"], late["message"], "Warning")


def _rollout(situation: Situation, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Event]:
    if situation.spec is None or situation.observation.jobworker.deleting:
        return
    last, update = before.get("updateRevision"), status["updateRevision"]
    if last and last != update:
        yield Event("RolloutStarted", f"Rolling out revision {update} in place of {last}")
    current = before.get("currentRevision")
    if current and current != status["currentRevision"] == update:
        # Of a revision that was withdrawn on the way there may be some as well: other, and not old.
        others = sum(not (member.updated or member.over) for member in situation.census.draining)
        rest = {0: "", 1: "; 1 pod of another revision finishes its jobs"}.get(
            others, f"; {others} pods of other revisions finish their jobs"
        )
        yield Event("RolloutComplete", f"{_all(situation.desired)} of revision {update}{rest}")


def _all(replicas: int) -> str:
    return "The only replica is" if replicas == 1 else f"All {replicas} replicas are"


def _size(situation: Situation, before: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Event]:
    """Somebody else wrote spec.replicas; what mode Auto writes is told by that action's own event."""
    spec, last, now = situation.spec, before.get("desiredReplicas"), status["desiredReplicas"]
    if spec is None or spec.scaling.mode == "Auto" or situation.observation.jobworker.deleting:
        return
    if isinstance(last, int) and last != now:
        yield Event("Rescaled", f"From {last} to {counted(now, 'replica')}: spec.replicas was changed")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == kind), {})
    return found


def _verdict(condition: Mapping[str, Any]) -> tuple[Any, Any]:
    return condition.get("status"), condition.get("reason")

"""One sentence for the printer column Status: what is going on, and what is waited for."""

from __future__ import annotations

from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.model.times import clock
from jobworker_operator.model.words import counted
from jobworker_operator.plan.drain import Member, waiting_for
from jobworker_operator.plan.situation import Situation, more


def summary(situation: Situation) -> str:
    """The most important thing first, then who drains."""
    parts = [_state(situation), _draining(situation)]
    return ", ".join(part for part in parts if part)


def _state(situation: Situation) -> str:  # noqa: PLR0911  # one answer for each case
    spec, desired = situation.spec, situation.desired
    if situation.observation.jobworker.deleting:
        return _deleting(situation)
    if spec is None:
        return f"Invalid: {situation.observation.jobworker.problem}"
    if situation.unreadable is not None:
        return f"Held: {situation.unreadable.problem}"
    if situation.observation.problems:
        return f"Stuck: {situation.observation.problems[0]}"
    if situation.failing and not situation.complete:
        return f"Stuck: {situation.why_not_started(situation.failing[0])}{more(len(situation.failing))}"
    if situation.unregistered and not situation.complete:
        unregistered = situation.unregistered
        return f"Stuck: {situation.why_not_registered(unregistered[0])}{more(len(unregistered))}"
    if situation.rolling:
        word = "Paused" if spec.rollout.paused else "Rolling out"
        return f"{word}: {len(situation.census.updated)} of {desired} updated"
    if situation.excess:
        return f"Scaling in: {len(situation.census.replicas)} replicas of {desired}, waits for idle pods"
    if not situation.complete:
        return f"Starting: {situation.updated_available} of {desired} available"
    return "Ready"


def _deleting(situation: Situation) -> str:
    held = len(situation.holding)
    return f"Deleting, held by {counted(held, 'pod')}, to give up: {situation.giving_up}" if held else "Deleting"


def _draining(situation: Situation) -> str:
    members = situation.census.draining
    if not members:
        return ""
    spec = situation.spec
    drain = DrainSpec() if spec is None else spec.drain
    # Whoever still works is told before whoever is only being ended.
    first = min(members, key=lambda member: (member.pod.terminating, -member.jobs, member.pod.name))
    waits = "" if situation.unreadable else f" ({_waits(situation, first, drain)})"
    return f"{len(members)} draining{waits}"


def _waits(situation: Situation, member: Member, drain: DrainSpec) -> str:
    since = since_of(member)
    told = "" if since is None else f" since {clock(since)}"
    # The time before the reason: behind it, it would read as the time of a checkpoint.
    return f"{member.pod.name} waits{told} for {waiting_for(member, situation.observation.redis, drain, brief=True)}"


def since_of(member: Member) -> float | None:
    """When the pod was told to go."""
    if member.removal is not None and member.removal.since:
        return member.removal.since
    return member.pod.terminating_since

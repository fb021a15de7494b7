"""The whole .status, written so that at rest it stays the same.

Nothing in it is an age. Figures that move with every job (busy pods, depths, latencies, the recommendation) are
samples: when nothing else has changed they are refreshed every SAMPLE_SECONDS at most, `sampledAt` says when.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from jobworker_operator.model.facts import QueueFacts, RedisFacts
from jobworker_operator.model.names import selector
from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.model.times import from_rfc3339, to_rfc3339
from jobworker_operator.plan.conditions import conditions
from jobworker_operator.plan.drain import Member, PodState, waiting_for
from jobworker_operator.plan.situation import Situation, shorten
from jobworker_operator.plan.summary import since_of, summary

SAMPLE_SECONDS = 10.0
_SUMMARY_LENGTH = 120  # a column of a table; the conditions have the rest
_DRAINING_SHOWN = 1000
_SAMPLES = ("busyReplicas", "queues", "depth", "latencySeconds", "scaling", "sampledAt")


def status_of(situation: Situation) -> dict[str, Any]:
    """The status to write if it differs from the one that stands there."""
    observation, census = situation.observation, situation.census
    jobworker = observation.jobworker
    update = observation.revision or str(situation.before.get("updateRevision") or "")
    status = {
        "observedGeneration": jobworker.generation,
        "desiredReplicas": situation.desired,
        "replicas": len(census.replicas),
        "readyReplicas": sum(_takes_jobs(member) for member in census.replicas),
        "updatedReplicas": len(census.updated),
        "drainingReplicas": len(census.draining),
        "selector": selector(jobworker.key.name),
        "currentRevision": _current_revision(situation, update),
        "updateRevision": update,
        "conditions": conditions(situation),
        "draining": [_draining(situation, member) for member in census.draining[:_DRAINING_SHOWN]],
        "summary": shorten(summary(situation), _SUMMARY_LENGTH),
        **_samples(situation),
    }
    return _hold_samples({name: value for name, value in status.items() if value is not None}, situation)


def sample_due_in(situation: Situation) -> float:
    """Seconds until samples may be written again."""
    at = from_rfc3339(situation.before.get("sampledAt"))
    return 0.0 if at is None else max(0.0, min(SAMPLE_SECONDS, at + SAMPLE_SECONDS - situation.observation.now))


def _samples(situation: Situation) -> dict[str, Any]:
    census, redis, decision = situation.census, situation.observation.redis, situation.decision
    samples: dict[str, Any] = {
        "busyReplicas": sum(member.jobs > 0 or member.state is PodState.UNKNOWN for member in census.members),
    }
    if isinstance(redis, RedisFacts):
        samples["queues"] = [_queue(queue) for queue in redis.queues]
        samples["depth"] = sum(queue.depth for queue in redis.queues)
        samples["latencySeconds"] = max((_coarse(queue.latency_seconds) for queue in redis.queues), default=0)
    else:
        # What was last known stands, with the time at which it was known.
        samples |= {
            name: situation.before[name] for name in ("queues", "depth", "latencySeconds") if name in situation.before
        }
    if decision is not None and decision.why:
        last = (situation.before.get("scaling") or {}).get("recommendation", decision.desired)
        made = decision.recommendation
        samples["scaling"] = {"recommendation": last if made is None else made.replicas, "reason": decision.why}
    return samples


def _hold_samples(status: dict[str, Any], situation: Situation) -> dict[str, Any]:
    before = situation.before
    sampled_at = before.get("sampledAt")
    same_samples = all(status.get(name) == before.get(name) for name in _SAMPLES if name != "sampledAt")
    if sampled_at is not None and (same_samples or (_steady(status) == _steady(before) and sample_due_in(situation))):
        samples = {name: before[name] for name in _SAMPLES if name in before}
        return {**_steady(status), **samples}
    return {**status, "sampledAt": to_rfc3339(situation.observation.now)}


def _steady(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _SAMPLES}


def _takes_jobs(member: Member) -> bool:
    return member.pod.ready and (member.activity is None or member.activity.quiet is None)


def _queue(queue: QueueFacts) -> dict[str, Any]:
    return {
        "name": queue.name,
        "depth": queue.depth,
        "latencySeconds": _coarse(queue.latency_seconds),
        "paused": queue.paused,
    }


def _coarse(seconds: float) -> int:
    """Whole seconds, of large ones two digits: the age of a job that nobody takes is not news every second."""
    whole = int(seconds)
    if whole < 100:  # noqa: PLR2004  # two digits
        return whole
    step: int = 10 ** (int(math.log10(whole)) - 1)
    return whole // step * step


def _draining(situation: Situation, member: Member) -> dict[str, Any]:
    spec = situation.spec
    drain = DrainSpec() if spec is None else spec.drain
    since = since_of(member)
    entry: dict[str, Any] = {
        "pod": member.pod.name,
        "waitingFor": waiting_for(member, situation.observation.redis, drain),
        "jobs": member.jobs,
    }
    if since is not None:
        entry["since"] = to_rfc3339(since)
    return entry


def _current_revision(situation: Situation, update: str) -> str:
    """The revision before this rollout, until all replicas are of the new one."""
    before = str(situation.before.get("currentRevision") or "")
    if situation.spec is not None and situation.complete:
        return update
    if before:
        return before
    old = Counter(member.pod.revision for member in situation.census.old)
    return old.most_common(1)[0][0] if old else update

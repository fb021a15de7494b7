"""What becomes of a job that raised: Sidekiq's curve and Sidekiq's fields, decided without any I/O."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jobworker.jobs.definition import MAX_RETRIES
from jobworker.protocol.payload import Payload, error_message, seconds_of
from jobworker.protocol.records import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score`` is the time of the next try or of death in epoch seconds; ``delay_seconds`` is 0 without a next try."""

    outcome: Outcome
    payload: Payload
    score: float
    delay_seconds: float = 0.0


def delay_seconds(count: int, chance: Callable[[int], int] = random.randrange) -> int:
    """How long to wait after failure number ``count``, counted from 0: 15 s at first, three weeks over 25 tries."""
    return int(count**4) + 15 + chance(10 * (count + 1))


def decide(job: Payload, error: BaseException, now: float, chance: Callable[[int], int] = random.randrange) -> Verdict:
    """Retry, bury or drop a job that raised ``error`` at ``now`` (epoch seconds)."""
    before = job.retry_count
    count = 0 if before is None else before + 1
    changes: dict[str, Any] = {
        "error_class": type(error).__qualname__,
        "error_message": error_message(error),
        "retry_count": count,
        "failed_at" if before is None else "retried_at": now,
    }
    failed = job.with_fields(**changes)
    if job.retry is False:
        return Verdict(Outcome.FAILED, failed, now)
    if _exhausted(failed, count, now):
        kept = job.extra.get("dead", True) is not False
        return Verdict(Outcome.DEAD if kept else Outcome.FAILED, failed, now)
    retry_queue = job.extra.get("retry_queue")
    if isinstance(retry_queue, str):
        failed = replace(failed, queue=retry_queue)
    delay = delay_seconds(count, chance)
    return Verdict(Outcome.RETRY, failed, now + delay, delay)


def _exhausted(job: Payload, count: int, now: float) -> bool:
    retry_for = job.extra.get("retry_for")
    if isinstance(retry_for, int) and not isinstance(retry_for, bool):
        first = seconds_of(job.extra.get("failed_at"))
        return first is not None and first + retry_for < now
    return count >= (MAX_RETRIES if job.retry is True else job.retry)

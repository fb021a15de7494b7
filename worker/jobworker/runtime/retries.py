"""What becomes of a job that raised: Sidekiq's curve and Sidekiq's fields, decided without any I/O.

Options that the payload carries win; what it does not carry, as from a producer that does not know the job, is taken
from the job's definition (Sidekiq's ``job_retry.rb``).
"""

from __future__ import annotations

import base64
import logging
import math
import random
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

import jobworker
from jobworker.jobs.definition import DISCARD, KILL, MAX_RETRIES, Instead, Options
from jobworker.protocol.payload import Payload, error_message, seconds_of
from jobworker.protocol.records import Outcome

log = logging.getLogger("jobworker.jobs")

Chance = Callable[[int], int]

_NO_RULES = Options()
_PACKAGE = str(Path(jobworker.__file__).parent)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score`` is the time of the next try or of death in epoch seconds; ``delay_seconds`` is 0 without a next try."""

    outcome: Outcome
    payload: Payload
    score: float
    delay_seconds: float = 0.0


def delay_seconds(count: int, chance: Chance = random.randrange) -> int:
    """How long to wait after failure number ``count``, counted from 0: 15 s at first, three weeks over 25 tries."""
    return int(count**4) + 15 + jitter_seconds(count, chance)


def jitter_seconds(count: int, chance: Chance = random.randrange) -> int:
    """What is added to every delay, so that what failed together does not come back together: Sidekiq 8's bound."""
    return chance(10 * (count + 1))


def decide(
    job: Payload, error: BaseException, now: float, options: Options = _NO_RULES, chance: Chance = random.randrange
) -> Verdict:
    """Retry, bury or drop a job that raised ``error`` at ``now`` (epoch seconds).

    It goes on in its retry queue, or else in its own, which a worker sets to the one that it was fetched from.
    """
    before = job.retry_count
    count = 0 if before is None else before + 1
    failed = job.with_fields(**_told(job, error, now, count, options))
    # Before it is asked whether there is a next try, as Sidekiq does: who is dead may be retried by hand.
    retry_queue = job.extra.get("retry_queue", options.retry_queue)
    if isinstance(retry_queue, str) and retry_queue:
        failed = replace(failed, queue=retry_queue)
    delay = _next(failed, error, now, count, options)
    if isinstance(delay, Instead):
        kept = delay is KILL and job.extra.get("dead", options.dead) is not False
        return Verdict(Outcome.DEAD if kept else Outcome.FAILED, failed, now)
    seconds = delay_seconds(count, chance) if delay is None else delay + jitter_seconds(count, chance)
    return Verdict(Outcome.RETRY, failed, now + seconds, seconds)


def _told(job: Payload, error: BaseException, now: float, count: int, options: Options) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "error_class": type(error).__qualname__,
        "error_message": error_message(error),
        "retry_count": count,
        "failed_at" if job.retry_count is None else "retried_at": job.time(now),
    }
    lines = job.extra.get("backtrace", options.backtrace)
    if lines and isinstance(lines, int):
        fields["error_backtrace"] = backtrace(error, None if lines is True else lines)
    return fields


def _next(failed: Payload, error: BaseException, now: float, count: int, options: Options) -> float | Instead | None:
    """Seconds until the next try, None for the curve, or why there is none."""
    if isinstance(error, options.discard_on):
        return DISCARD
    if isinstance(error, options.kill_on):
        return KILL
    if failed.retry is False:
        return DISCARD
    if _exhausted(failed, count, now, options):
        return KILL
    return _asked(options, count, error, failed)


def backtrace(error: BaseException, lines: int | None = None) -> str:
    """The way to the error as Sidekiq keeps it: the innermost call first, JSON, deflated, in base64 on one line.

    Calls of this package before the job's own are left out: they would be the same for all jobs.
    """
    frames = [
        f"{frame.filename}:{frame.lineno}:in '{frame.name}'"
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    ]
    while frames and frames[-1].startswith(_PACKAGE):
        frames.pop()
    return base64.b64encode(zlib.compress(orjson.dumps(frames[:lines]))).decode()


def _exhausted(job: Payload, count: int, now: float, options: Options) -> bool:
    retry_for = job.extra.get("retry_for", options.fields.get("retry_for"))
    if isinstance(retry_for, int | float) and not isinstance(retry_for, bool):
        first = seconds_of(job.extra.get("failed_at"))
        return first is not None and first + retry_for < now
    return count >= (MAX_RETRIES if job.retry is True else job.retry)


def _asked(options: Options, count: int, error: BaseException, job: Payload) -> float | Instead | None:
    """What the job's own ``retry_in`` says; None where there is none or where it says nothing that can be followed."""
    if options.retry_in is None:
        return None
    try:
        answer = options.retry_in(count, error, job)
    except Exception:  # the border to the user's code: a mistake in a rule must not lose the job
        log.exception(
            "retry_in raised: Sidekiq's default delay is used", extra={"jid": job.jid, "class": job.job_class}
        )
        return None
    if answer is None or isinstance(answer, Instead):
        return answer
    seconds: Any = answer.total_seconds() if isinstance(answer, timedelta) else answer
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < math.inf:
        return float(seconds)
    log.error(
        "retry_in returned no delay: Sidekiq's default is used; return seconds, a timedelta, KILL, DISCARD or None",
        extra={"jid": job.jid, "class": job.job_class, "returned": repr(answer)[:80]},
    )
    return None

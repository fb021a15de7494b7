"""Jobs that failed for good: the bounds of the dead set, and what death handlers are told.

A death that somebody wants to hear of lies in ``jw:deaths`` from the step that buries the job until a worker that knows
the job has called its handlers: a worker killed in between leaves it to another, so handlers run at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobworker.protocol.payload import JobId, Payload, seconds_of

POISON_AFTER = "jw_poison_after"
"""Payload field: how many deaths of workers make the job poison; 0 for never."""

DISCARDED_AT = "discarded_at"
"""Payload field of a notice, as Sidekiq 8 has it: the job is kept nowhere."""


@dataclass(frozen=True, slots=True)
class DeadSet:
    """Bounds of the dead set, Sidekiq's by default: at most so many jobs, none that died longer ago."""

    max_jobs: int = 10_000
    max_age: timedelta = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that failed for good, as death handlers get it.

    ``kept``: it lies in the dead set; else it is gone (``retry=False``, ``dead=False``, discarded). ``poison``: workers
    died of it. ``died_at``, of the last failure, is in epoch seconds; ``extra`` holds all other fields of the payload.
    """

    job_class: str
    args: Sequence[Any]
    jid: JobId
    queue: str
    error_class: str
    error_message: str
    died_at: float
    kept: bool
    poison: bool
    extra: Mapping[str, Any]

    @classmethod
    def of(cls, job: Payload) -> DeadJob:
        """Read it from its payload."""
        failed_at = seconds_of(job.extra.get("failed_at")) or 0.0
        error_class = str(job.extra.get("error_class", ""))
        return cls(
            job.job_class,
            job.args,
            job.jid,
            job.queue,
            error_class,
            str(job.extra.get("error_message", "")),
            seconds_of(job.extra.get("retried_at")) or failed_at,
            kept=seconds_of(job.extra.get(DISCARDED_AT)) is None,
            poison=error_class == "Poison",
            extra=job.extra,
        )

"""What Redis is told about a job that raised, and what the log says of it."""

from __future__ import annotations

import logging
import time
from typing import Any, assert_never

from jobworker.errors import UnknownJob
from jobworker.jobs.context import Context
from jobworker.jobs.definition import Options
from jobworker.jobs.registry import Registry
from jobworker.protocol import payload as payloads
from jobworker.protocol.deaths import DISCARDED_AT
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Entry, Finished, Outcome
from jobworker.runtime import retries

log = logging.getLogger("jobworker.jobs")

_SOON = 6.0  # seconds: later retries are seen by the scheduler's own looks
_UNKNOWN = Options()  # a job that this application does not define is tried again by what its payload says


class Failures:
    """Judges failed jobs by the rules of their definitions in ``registry``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def finished(
        self, entry: Entry, payload: Payload, context: Context, error: BaseException, seconds: float
    ) -> Finished:
        """The end of a job that raised ``error`` after so many ``seconds``, by its rules; logged. Never raises."""
        try:
            return self._judged(entry, payload, context, error, seconds)
        except Exception:  # the border to foreign bytes: one payload must not end a worker, nor the next one after it
            log.exception(
                "job failed, and its payload cannot be written back: it is in the dead set as it came",
                extra={**context.fields, "error": f"{type(error).__name__}: {payloads.error_message(error)}"},
            )
            return Finished(entry.number, entry.queue, Outcome.DEAD, time.time(), entry.payload)

    def _judged(
        self, entry: Entry, payload: Payload, context: Context, error: BaseException, seconds: float
    ) -> Finished:
        definition = self._registry.find(payload.job_class)
        options = _UNKNOWN if definition is None else definition.options
        # What a fetcher of the application calls its queue is none of Redis: the payload says where further tries go.
        job = payload.fetched_from(entry.queue) if entry.number > 0 else payload
        verdict = retries.decide(job, error, time.time(), options)
        _tell(verdict, context, error, seconds)
        # Who has nobody to tell spares Redis the notice.
        announced = bool(self._registry.death_handlers) or options.retries_exhausted is not None
        match verdict.outcome:
            case Outcome.RETRY:
                body, announced = verdict.payload.to_json(), verdict.delay_seconds < _SOON
            case Outcome.DEAD:
                body = verdict.payload.to_json()
            case Outcome.FAILED:
                discarded = verdict.payload.with_fields(**{DISCARDED_AT: round(verdict.score * 1000)})
                body = discarded.to_json() if announced else b""
            case Outcome.OK:
                raise AssertionError("a job that raised is never ok")
            case _:
                assert_never(verdict.outcome)
        return Finished(entry.number, entry.queue, verdict.outcome, verdict.score, body, announced)


def _tell(verdict: retries.Verdict, context: Context, error: BaseException, seconds: float) -> None:
    fields: dict[str, Any] = {
        **context.fields,
        "attempt": context.attempt,
        "seconds": seconds,
        "error": f"{type(error).__name__}: {payloads.error_message(error)}",
    }
    # The way to an unknown class is known; a traceback through this package would tell nobody anything.
    trace = None if isinstance(error, UnknownJob) else error
    if verdict.outcome is Outcome.RETRY:
        log.warning("job failed, will be retried", extra={**fields, "in": verdict.delay_seconds}, exc_info=trace)
    elif verdict.outcome is Outcome.DEAD:
        log.error("job failed for the last time: it is in the dead set", extra=fields, exc_info=trace)
    else:
        log.error("job failed, and its options say that it is not kept", extra=fields, exc_info=trace)

"""What Redis is told about a job that raised, and what the log says of it."""

from __future__ import annotations

import logging
import time
from typing import Any, assert_never

from jobworker.errors import UnknownJob
from jobworker.jobs.context import Context
from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Entry, Finished, Outcome
from jobworker.runtime import retries

log = logging.getLogger("jobworker.jobs")


def finished(entry: Entry, payload: Payload, context: Context, error: BaseException, seconds: float) -> Finished:
    """The end of a job that raised ``error`` after so many ``seconds``, by its retry rules; logged. Never raises."""
    try:
        return _judged(entry, payload, context, error, seconds)
    except Exception:  # the border to foreign bytes: one payload must not end a worker, nor the next one after it
        log.exception(
            "job failed, and its payload cannot be written back: it is in the dead set as it came",
            extra={**context.fields, "error": f"{type(error).__name__}: {payloads.error_message(error)}"},
        )
        return Finished(entry.number, entry.queue, Outcome.DEAD, time.time(), entry.payload)


def _judged(entry: Entry, payload: Payload, context: Context, error: BaseException, seconds: float) -> Finished:
    verdict = retries.decide(payload, error, time.time())
    fields: dict[str, Any] = {
        **context.fields,
        "attempt": context.attempt,
        "seconds": seconds,
        "error": f"{type(error).__name__}: {payloads.error_message(error)}",
    }
    # The way to an unknown class is known; a traceback through this package would tell nobody anything.
    trace = None if isinstance(error, UnknownJob) else error
    match verdict.outcome:
        case Outcome.RETRY:
            log.warning("job failed, will be retried", extra={**fields, "in": verdict.delay_seconds}, exc_info=trace)
        case Outcome.DEAD:
            log.error("job failed for the last time: it is in the dead set", extra=fields, exc_info=trace)
        case Outcome.FAILED:
            log.error("job failed, and its options say that it is not kept", extra=fields, exc_info=trace)
        case Outcome.OK:
            raise AssertionError("a job that raised is never ok")
        case _:
            assert_never(verdict.outcome)
    body = b"" if verdict.outcome is Outcome.FAILED else verdict.payload.to_json()
    return Finished(entry.number, entry.queue, verdict.outcome, verdict.score, body)

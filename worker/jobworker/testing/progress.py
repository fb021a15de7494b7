"""How far a job of a test is, read as `Client.progress` reads it from Redis."""

from __future__ import annotations

from jobworker.protocol.job_states import JobState
from jobworker.protocol.progress import JobProgress, page_of
from jobworker.testing.memory import EnqueuedJob, Memory


def progress_of(memory: Memory, jid: str, errors_after: int, errors: int | None) -> JobProgress | None:
    """How far it is; None if it never ran. Times and rates are nobody's in a test."""
    places = memory.places
    if not places.knows(jid):
        return None
    place = places.of(jid)
    rows, more = page_of(place.errors, errors_after, errors)
    return JobProgress(
        jid=jid,
        state=places.end_of(jid) or _state(memory, jid),
        processed=place.processed,
        failed=place.failed,
        total=places.total_of(jid),
        rate=None,
        run_rate=None,
        done=place.done,
        errors={row: place.errors[row] for row in rows},
        next_errors=more,
        started_at=None,
        began_at=None,
        updated_at=None,
        ended_at=None,
        worker=None,
    )


def _state(memory: Memory, jid: str) -> JobState:
    def among(jobs: list[EnqueuedJob]) -> bool:
        return any(job.jid == jid for job in jobs)

    if among(memory.paused):
        return JobState.PAUSED
    if among(memory.retries):
        return JobState.RETRYING
    if among(memory.dead):
        return JobState.FAILED
    return JobState.WAITING if among([*memory.waiting, *memory.scheduled]) else JobState.RUNNING

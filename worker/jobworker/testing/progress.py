"""How far a job of a test is, read as `Client.progress` reads it from Redis."""

from __future__ import annotations

from collections.abc import Sequence

from jobworker.protocol.job_states import JobState
from jobworker.protocol.progress import JobProgress, page_of
from jobworker.protocol.slice_progress import SliceProgress, together
from jobworker.testing.memory import EnqueuedJob, Memory


def progress_of(memory: Memory, jid: str, errors_after: int, errors: int | None) -> JobProgress | None:
    """How far it is; None if it never ran. Times and rates are nobody's in a test."""
    places = memory.places
    if not places.knows(jid):
        return None
    place = places.of(jid)
    slices = _slices(memory, jid)
    sums = together(slices or ())
    rows, more = page_of(place.errors, errors_after, errors)
    return JobProgress(
        jid=jid,
        state=places.end_of(jid) or _state(memory, jid, slices),
        processed=place.processed if slices is None else sums.processed,
        failed=place.failed if slices is None else sums.failed,
        total=places.total_of(jid) if slices is None or places.total_of(jid) is not None else sums.total,
        rate=None,
        run_rate=None,
        done=place.done if slices is None else sums.done,
        errors={row: place.errors[row] for row in rows},
        next_errors=more,
        started_at=None,
        began_at=None,
        updated_at=None,
        ended_at=None,
        worker=None,
        slices=slices,
    )


def _slices(memory: Memory, jid: str) -> tuple[SliceProgress, ...] | None:
    known = memory.slices.get(jid)
    if known is None:
        return None
    places, found = memory.places, []
    for one in known.jids(jid):
        place, state = places.of(one), places.end_of(one) or _state(memory, one, None)
        found.append(SliceProgress(one, state, place.processed, place.failed, places.total_of(one), done=place.done))
    return tuple(found)


def _state(memory: Memory, jid: str, slices: Sequence[SliceProgress] | None) -> JobState:
    def among(jobs: list[EnqueuedJob]) -> bool:
        return any(job.jid == jid for job in jobs)

    if among(memory.paused):
        return JobState.PAUSED
    if among(memory.retries):
        return JobState.RETRYING
    if among(memory.dead):
        return JobState.FAILED
    if slices is not None and jid not in memory.running:
        return JobState.WAITING
    return JobState.WAITING if among([*memory.waiting, *memory.scheduled]) else JobState.RUNNING

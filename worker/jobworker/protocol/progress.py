"""How far an iterating job is, read from outside while it runs and for a time after it, without changing anything.

Written as steps, lists of commands for one crossing each, so that clients of asyncio and of plain code share them.
Where a job is when nobody holds it, only its payload tells: then the retry set and the dead set are searched for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from jobworker.protocol.job_states import JobState, ended_as, found_in_sets, holding, holds
from jobworker.protocol.keys import Keys
from jobworker.protocol.number_sets import runs, unpacked
from jobworker.protocol.payload import JobId
from jobworker.protocol.places import DONE, counts_by_kind
from jobworker.protocol.records import WorkerId
from jobworker.protocol.slice_progress import SliceProgress, slice_progress, together
from jobworker.protocol.steps import Steps

ERRORS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far an iterating job is. Times are in epoch seconds of Redis' clock, None where nobody knows.

    ``processed`` rows are done, the first ones, ``failed`` of them with errors; ``total`` is None where nobody knows.
    ``errors`` maps rows to their messages: a page of them, in order, and ``next_errors`` is the row after which the
    next page begins, None behind the last one. ``done`` counts the done ids of each kind. ``rate`` is in rows a second,
    smoothed over half a minute, ``run_rate`` that of the present run; both are None unless it runs.
    ``started_at`` is when the job ran for the first time, ``began_at`` when its last run began.

    Of a job that was split, ``slices`` are its slices, and counts and rates are the sums of theirs. Rows with errors
    are numbered slice by slice: ask for the progress of a slice by its own jid.
    """

    jid: str
    state: JobState
    processed: int
    failed: int
    total: int | None
    rate: float | None
    run_rate: float | None
    done: Mapping[str, int]
    errors: Mapping[int, tuple[str, ...]]
    next_errors: int | None
    started_at: float | None
    began_at: float | None
    updated_at: float | None
    ended_at: float | None
    worker: WorkerId | None
    slices: tuple[SliceProgress, ...] | None = None

    @property
    def rows(self) -> range:
        """The numbers of the rows that are done, failed ones included."""
        return range(1, self.processed + 1)

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1."""
        return None if not self.total else min(1.0, self.processed / self.total)

    @property
    def eta_seconds(self) -> float | None:
        """How long it will take from ``updated_at`` on, at its present rate."""
        rate = self.rate or self.run_rate
        if self.total is None or not rate:
            return None
        return max(0.0, (self.total - self.processed) / rate)


def job_progress(
    keys: Keys, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE
) -> Steps[JobProgress | None]:
    """How far a job is; None if it never ran, or is long over.

    ``errors`` rows with their messages, those with higher numbers than ``errors_after``; None for all there are.
    """
    names = keys.progress(jid), keys.errors(jid)
    counts, rows, parked = yield [
        ("HGETALL", names[0]),
        ("HKEYS", names[1]),
        ("HEXISTS", keys.parked, jid),
    ]
    if not counts and not parked:
        return None
    page, more = page_of([int(row) for row in rows], errors_after, errors)
    entry, messages = yield [holding(keys, counts), ("HMGET", names[1], *(page or [0]))]
    state = JobState.RUNNING if holds(entry, jid) else ended_as(counts) or (JobState.PAUSED if parked else None)
    slices = None
    if b"slices" in counts:
        slices = yield from slice_progress(keys, jid)
        counts, of_slices = _together(counts, slices)
        state = state or of_slices
    if state is None:
        state = (yield from found_in_sets(keys, jid, {jid})).get(JobId(jid), JobState.WAITING)
    found = zip(page, messages, strict=False)
    explained = {row: tuple(orjson.loads(raw)) for row, raw in found if raw}
    return _read(jid, counts, state, explained, more, slices)


def failed_rows(keys: Keys, jid: str) -> Steps[tuple[range, ...]]:
    """The numbers of all rows with errors, explained or not, in ascending order, neighbours as one range."""
    (raw,) = yield [("HGETALL", keys.failed_rows(jid))]
    return tuple(runs({int(chunk): unpacked(bits) for chunk, bits in raw.items()}))


def page_of(rows: Iterable[int], after: int, most: int | None) -> tuple[list[int], int | None]:
    """Up to ``most`` rows behind ``after`` in order, and where the next page begins: None behind the last."""
    left = sorted(row for row in rows if row > after)
    if most is None or len(left) <= most:
        return left, None
    return left[:most], left[most - 1] if most else after


def _together(
    counts: Mapping[bytes, bytes], slices: Sequence[SliceProgress]
) -> tuple[Mapping[bytes, bytes], JobState | None]:
    """The counts of a job that was split, and its state while its slices run."""
    sums = together(slices)
    fields: dict[bytes, object] = {b"processed": sums.processed, b"failed": sums.failed}
    if sums.total is not None:
        fields[b"total"] = sums.total
    if sums.rate is not None:
        fields[b"rate"] = sums.rate
    if sums.updated_at is not None:
        fields[b"updated_at"] = round(sums.updated_at * 1000)
    fields |= {f"{DONE}{kind}".encode(): count for kind, count in sums.done.items()}
    states = {found.state for found in slices}
    state = JobState.RUNNING if JobState.RUNNING in states else None
    if state is None and states <= {JobState.PAUSED, JobState.DONE} and JobState.PAUSED in states:
        state = JobState.PAUSED
    return {**counts, **{field: str(value).encode() for field, value in fields.items()}}, state


def _read(
    jid: str,
    counts: Mapping[bytes, bytes],
    state: JobState,
    errors: Mapping[int, tuple[str, ...]],
    next_errors: int | None,
    slices: tuple[SliceProgress, ...] | None,
) -> JobProgress:
    def seconds(field: bytes) -> float | None:
        return int(counts[field]) / 1000 if field in counts else None

    processed = int(counts.get(b"processed", 0))
    running = state is JobState.RUNNING
    began, updated = seconds(b"began_at"), seconds(b"updated_at")
    run_rate = None
    if running and began is not None and updated is not None and updated > began:
        run_rate = max(0, processed - int(counts.get(b"from", 0))) / (updated - began)
    return JobProgress(
        jid=jid,
        state=state,
        processed=processed,
        failed=int(counts.get(b"failed", 0)),
        total=int(counts[b"total"]) if b"total" in counts else None,
        rate=float(counts[b"rate"]) if running and b"rate" in counts else None,
        run_rate=run_rate,
        done=counts_by_kind(counts),
        errors=errors,
        next_errors=next_errors,
        started_at=seconds(b"started_at"),
        began_at=began,
        updated_at=updated,
        ended_at=seconds(b"ended_at"),
        worker=WorkerId(counts[b"worker"].decode("utf-8", "replace")) if running and b"worker" in counts else None,
        slices=slices,
    )

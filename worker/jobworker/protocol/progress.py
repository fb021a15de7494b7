"""How far an iterating job is, read from outside while it runs and for a time after it, without changing anything.

Written as steps, lists of commands for one crossing each, so that clients of asyncio and of plain code share them.
Where a job is when nobody holds it, only its payload tells: then the retry set and the dead set are searched for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import orjson

from jobworker.errors import MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.control import Steps
from jobworker.protocol.keys import Keys
from jobworker.protocol.number_sets import runs, unpacked
from jobworker.protocol.places import counts_by_kind
from jobworker.protocol.records import WorkerId

ERRORS_AT_ONCE = 100
_SCANNED = 1_000  # payloads in one crossing


class JobState(Enum):
    """Where an iterating job is."""

    WAITING = "waiting"
    """In a queue, or on its way there."""
    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    """It failed, and waits for its next try."""
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    """In the dead set."""

    @property
    def over(self) -> bool:
        """Will it do no more, unless somebody retries it?"""
        return self in {JobState.CANCELLED, JobState.DONE, JobState.FAILED}


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far an iterating job is. Times are in epoch seconds of Redis' clock, None where nobody knows.

    ``processed`` rows are done, the first ones, ``failed`` of them with errors; ``total`` is None where nobody knows.
    ``errors`` maps rows to their messages: a page of them, in order, and ``next_errors`` is the row after which the
    next page begins, None behind the last one. ``done`` counts the done ids of each kind. ``rate`` is in rows a second,
    smoothed over half a minute, ``run_rate`` that of the present run; both are None unless it runs.
    ``started_at`` is when the job ran for the first time, ``began_at`` when its last run began.
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
    if not counts:
        return None
    page, more = page_of([int(row) for row in rows], errors_after, errors)
    worker = WorkerId(counts.get(b"worker", b"").decode("utf-8", "replace"))
    held, messages = yield [
        ("HEXISTS", keys.working(worker), counts.get(b"number", b"")),
        ("HMGET", names[1], *(page or [0])),
    ]
    standing = _known_state(counts, held=bool(held), parked=bool(parked))
    if standing is None:
        standing = yield from _searched(keys, jid)
    found = zip(page, messages, strict=False)
    return _read(jid, counts, standing, {row: tuple(orjson.loads(raw)) for row, raw in found if raw}, more)


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


def _known_state(counts: Mapping[bytes, bytes], *, held: bool, parked: bool) -> JobState | None:
    """The state, as far as the job's own keys tell."""
    if held:
        return JobState.RUNNING
    if (end := counts.get(b"end")) is not None:
        return JobState.CANCELLED if end == b"cancelled" else JobState.DONE
    return JobState.PAUSED if parked else None


def _searched(keys: Keys, jid: str) -> Steps[JobState]:
    for key, state in ((keys.retry, JobState.RETRYING), (keys.dead, JobState.FAILED)):
        if (yield from _is_in(key, jid)):
            return state
    return JobState.WAITING


def _is_in(key: str, jid: str) -> Steps[bool]:
    # JSON may write other characters in many ways; these are found as they are.
    choice = ("MATCH", f"*{jid}*") if jid.isascii() and jid.replace("-", "").replace(".", "").isalnum() else ()
    cursor = 0
    while True:
        ((cursor, found),) = yield [("ZSCAN", key, cursor, *choice, "COUNT", _SCANNED)]
        if any(_is(jid, raw) for raw, _ in found):
            return True
        if not cursor:
            return False


def _is(jid: str, raw: bytes) -> bool:
    try:
        return payloads.parse(raw).jid == jid
    except MalformedPayload:
        return False


def _read(
    jid: str,
    counts: Mapping[bytes, bytes],
    state: JobState,
    errors: Mapping[int, tuple[str, ...]],
    next_errors: int | None,
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
        worker=WorkerId(counts[b"worker"].decode("utf-8", "replace")) if running else None,
    )

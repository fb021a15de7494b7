"""How far the slices of a parallel job are, each one and together. Steps as in `jobworker.protocol.progress`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobworker.protocol.job_states import JobState, ended_as, found_in_sets, holding, holds
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId
from jobworker.protocol.places import counts_by_kind
from jobworker.protocol.slices import slice_jid
from jobworker.protocol.steps import Command, Steps

_AT_ONCE = 500  # slices in one crossing


@dataclass(frozen=True, slots=True)
class SliceProgress:
    """How far a slice is: see `JobProgress`, which a client has of it by its ``jid`` too."""

    jid: JobId
    state: JobState
    processed: int = 0
    failed: int = 0
    total: int | None = None
    rate: float | None = None
    done: Mapping[str, int] = field(default_factory=dict)
    updated_at: float | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """The sums of all slices. ``total`` is None until each slice has told its own."""

    processed: int
    failed: int
    total: int | None
    rate: float | None
    done: Mapping[str, int]
    updated_at: float | None


def together(slices: Sequence[SliceProgress]) -> Together:
    """Add them up."""
    totals = [found.total for found in slices if found.total is not None]
    rates = [found.rate for found in slices if found.rate is not None]
    done: Counter[str] = Counter()
    for found in slices:
        done.update(found.done)
    return Together(
        processed=sum(found.processed for found in slices),
        failed=sum(found.failed for found in slices),
        total=sum(totals) if len(totals) == len(slices) else None,
        rate=sum(rates) if rates else None,
        done=dict(done),
        updated_at=max((found.updated_at for found in slices if found.updated_at is not None), default=None),
    )


def slice_progress(keys: Keys, whole: str) -> Steps[tuple[SliceProgress, ...]]:
    """All slices of a job, in their order; none where it is unknown how it was split."""
    (known,) = yield [("HGETALL", keys.slices(whole))]
    found: list[SliceProgress] = []
    for first in range(0, int(known.get(b"count", 0)), _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, int(known[b"count"])))
        found += yield from _some(keys, [slice_jid(whole, number) for number in numbers], known, first)
    lost = {one.jid for one in found if one.state is JobState.WAITING}
    if lost:
        # RETRYING or FAILED are seen in the payloads only; one look for all slices.
        states = yield from found_in_sets(keys, f"{whole}s", lost)
        found = [replace(one, state=states.get(one.jid, one.state)) for one in found]
    return tuple(found)


def _some(keys: Keys, jids: Sequence[JobId], known: Mapping[bytes, bytes], first: int) -> Steps[list[SliceProgress]]:
    counts = yield [("HGETALL", keys.progress(jid)) for jid in jids]
    commands: list[Command] = []
    for jid, count in zip(jids, counts, strict=True):
        commands += [holding(keys, count), ("HEXISTS", keys.parked, jid)]
    standing = yield commands
    return [
        _read(jid, count, known.get(b"s%d" % number, b""), held=holds(entry, jid), parked=bool(parked))
        for number, (jid, count, entry, parked) in enumerate(
            zip(jids, counts, standing[::2], standing[1::2], strict=True), first
        )
    ]


def _read(jid: JobId, counts: Mapping[bytes, bytes], told: bytes, *, held: bool, parked: bool) -> SliceProgress:
    if told in {b"done", b"cancelled"}:
        state = JobState.DONE if told == b"done" else JobState.CANCELLED
    elif held:
        state = JobState.RUNNING
    else:
        state = ended_as(counts) or (JobState.PAUSED if parked else JobState.WAITING)
    running = state is JobState.RUNNING
    return SliceProgress(
        jid=jid,
        state=state,
        processed=int(counts.get(b"processed", 0)),
        failed=int(counts.get(b"failed", 0)),
        total=int(counts[b"total"]) if b"total" in counts else None,
        rate=float(counts[b"rate"]) if running and b"rate" in counts else None,
        done=counts_by_kind(counts),
        updated_at=int(counts[b"updated_at"]) / 1000 if b"updated_at" in counts else None,
    )

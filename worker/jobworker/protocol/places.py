"""The place of an iterating job, for the worker that holds it: where a run begins, and which ids are done."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from jobworker.protocol.checkpoints import done_args, done_keys
from jobworker.protocol.keys import Keys
from jobworker.protocol.number_sets import unpacked
from jobworker.protocol.records import Checkpoint, DoneIds, IterationState, Number, Wish
from jobworker.protocol.scripts import STATE_SECONDS, Script, WorkerScripts

BEGIN, NOTE_DONE = Script("begin"), Script("note_done")
DONE = "done:"
"""What fields of a job's progress begin with that count the done ids of a kind."""

_AT_ONCE = 2_000  # chunks and texts in one script call: Redis serves others in between


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a job stands. Without a cursor its rows begin anew; ``done`` counts ids by their kind in any case."""

    state: IterationState
    processed: int
    failed: int
    errors: Mapping[int, tuple[str, ...]]
    done: Mapping[str, int]
    rate: float | None


@dataclass(frozen=True, slots=True)
class Over:
    """An iterating job that has ended. Its progress, with ``kinds`` of done ids, can be read for ``seconds`` more."""

    jid: str
    cancelled: bool
    seconds: int
    kinds: tuple[str, ...] = ()


async def begin(scripts: WorkerScripts, keys: Keys, number: Number, jid: str) -> Begun:
    """Note that a run begins here; where it begins.

    Raises:
        StaleEpoch: this life has ended.
        NotHeld: the job has another holder by now.
    """
    names = [keys.iteration(jid), keys.progress(jid), keys.errors(jid)]
    answer = await scripts.of_job(BEGIN, number, jid, names, [scripts.worker, STATE_SECONDS])
    raw, counts, errors = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in answer[1:])
    state = IterationState.read(raw)
    resumed = state.cursor is not None
    return Begun(
        state=state,
        processed=int(counts.get(b"processed", 0)) if resumed else 0,
        failed=int(counts.get(b"failed", 0)) if resumed else 0,
        errors={int(row): tuple(orjson.loads(messages)) for row, messages in errors.items()},
        done=counts_by_kind(counts),
        rate=float(counts[b"rate"]) if b"rate" in counts else None,
    )


def counts_by_kind(progress: Mapping[bytes, bytes]) -> dict[str, int]:
    """How many ids of each kind are done, as the progress of a job tells."""
    prefix = DONE.encode()
    return {field[len(prefix) :].decode(): int(count) for field, count in progress.items() if field.startswith(prefix)}


async def checkpoint(scripts: WorkerScripts, keys: Keys, number: Number, jid: str, state: Checkpoint) -> Wish:
    """Write where the job stands; what somebody wants of it by now.

    Done ids beyond what one call should carry are written before it: they are done, and the cursor follows.

    Raises:
        StaleEpoch: this life has ended.
        NotHeld: the job has another holder by now.
    """
    if state.progress is not None and sum(each.size for each in state.progress.done) > _AT_ONCE:
        await note_done(scripts, keys, number, jid, state.progress.done)
        state = state.without_done()
    return await scripts.checkpoint(number, jid, state)


async def note_done(scripts: WorkerScripts, keys: Keys, number: Number, jid: str, done: Iterable[DoneIds]) -> None:
    """Write at once that ids are done.

    Raises:
        StaleEpoch: this life has ended.
        NotHeld: the job has another holder by now.
    """
    for part in _parts(done):
        names = [keys.progress(jid), *done_keys(keys, jid, [part])]
        await scripts.of_job(NOTE_DONE, number, jid, names, [STATE_SECONDS, *done_args([part])])


def _parts(done: Iterable[DoneIds]) -> Iterator[DoneIds]:
    for each in done:
        for at in range(0, len(each.numbers), _AT_ONCE):
            yield DoneIds(each.kind, each.numbers[at : at + _AT_ONCE])
        for at in range(0, len(each.texts), _AT_ONCE):
            yield DoneIds(each.kind, texts=each.texts[at : at + _AT_ONCE])


async def look_up(
    redis: Redis, keys: Keys, jid: str, kind: str, chunks: Sequence[int], texts: Sequence[str]
) -> tuple[list[int], list[bool]]:
    """The bits of chunks of the numbers that are done, and whether each of the texts is."""
    of_numbers, of_texts = keys.done(jid, kind)
    bits: list[int] = []
    known: list[bool] = []
    for at in range(0, len(chunks), _AT_ONCE):
        found = await cast("Awaitable[list[bytes | None]]", redis.hmget(of_numbers, [*chunks[at : at + _AT_ONCE]]))
        bits += map(unpacked, found)
    for at in range(0, len(texts), _AT_ONCE):
        answer = cast("Any", redis).smismember(of_texts, texts[at : at + _AT_ONCE])
        known += map(bool, await answer)
    return bits, known


async def forget(redis: Redis, keys: Keys, jobs: Iterable[Over]) -> None:
    """Drop the cursors of jobs whose end Redis knows, and note in their progress how and when they ended."""
    seconds, microseconds = await redis.time()
    now = seconds * 1000 + microseconds // 1000
    async with redis.pipeline(transaction=False) as pipe:
        untyped: Any = pipe
        for job in jobs:
            progress = keys.progress(job.jid)
            untyped.hset(progress, mapping={"end": "cancelled" if job.cancelled else "done", "ended_at": now})
            untyped.delete(keys.iteration(job.jid))
            sets = [name for kind in job.kinds for name in keys.done(job.jid, kind)]
            for name in (progress, keys.errors(job.jid), keys.failed_rows(job.jid), keys.slices(job.jid), *sets):
                untyped.expire(name, job.seconds)
        await pipe.execute()

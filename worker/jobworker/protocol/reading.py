"""What can be read from outside without changing anything: what workers do, and how deep queues are.

One pipelined crossing for a whole list, so that an operator pays for a Redis connection and not for a pod.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobworker.errors import MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Activity, Epoch, QueueDepth, WorkerId
from jobworker.protocol.scripts import ACTIVITY


async def activities(redis: Redis, keys: Keys, workers: Sequence[WorkerId]) -> tuple[Activity, ...]:
    """What each of ``workers`` is doing, all seen at one moment."""
    if not workers:
        return ()
    names = [
        name
        for worker in workers
        for name in (
            keys.record(worker), keys.alive(worker), keys.working(worker), keys.quiet(worker), keys.checkpoints(worker),
        )
    ]  # fmt: skip
    now_ms, *rows = await ACTIVITY(redis, names, [])
    return tuple(_activity(worker, row, int(now_ms) / 1000) for worker, row in zip(workers, rows, strict=True))


async def fleet_members(redis: Redis, keys: Keys, fleet: str) -> dict[WorkerId, Epoch]:
    """All workers that registered for a JobWorker and were neither deregistered nor rescued since."""
    raw = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.fleet(fleet)))
    return {WorkerId(worker.decode()): Epoch(epoch.decode()) for worker, epoch in raw.items()}


async def queue_depths(redis: Redis, keys: Keys, queues: Sequence[str]) -> tuple[QueueDepth, ...]:
    """Depth, age of the oldest job and pause of each queue; what stands there instead where it is no queue."""
    async with redis.pipeline(transaction=False) as pipe:
        for queue in queues:
            _ = pipe.llen(keys.queue(queue)), pipe.lindex(keys.queue(queue), -1), pipe.sismember(keys.paused, queue)
        answers = await pipe.execute(raise_on_error=False)
    now = time.time()
    depths = []
    for queue, depth, oldest, paused in zip(queues, answers[::3], answers[1::3], answers[2::3], strict=True):
        if isinstance(depth, ResponseError) and str(depth).startswith("WRONGTYPE"):
            kind = cast("bytes", await redis.type(keys.queue(queue))).decode()
            problem = f"its key {keys.queue(queue)} holds a {kind} and no list"
            depths.append(QueueDepth(queue, 0, 0.0, bool(paused), problem))
            continue
        for answer in (depth, oldest, paused):
            if isinstance(answer, Exception):
                raise answer
        depths.append(QueueDepth(queue, int(depth), _latency(oldest, now), bool(paused)))
    return tuple(depths)


def _activity(worker: WorkerId, row: Sequence[Any], now: float) -> Activity:
    epoch, alive, held, quiet, beat, running, concurrency, checkpoint_age_ms = row
    age = int(checkpoint_age_ms)
    return Activity(
        worker=worker,
        epoch=None if epoch is None else Epoch(epoch.decode()),
        alive=bool(alive),
        held=int(held),
        quiet=None if quiet is None else quiet.decode(),
        beat_age_seconds=None if beat is None else max(0.0, now - float(beat)),
        running=int(running or 0),
        concurrency=int(concurrency or 0),
        checkpoint_age_seconds=None if age < 0 else age / 1000,
    )


def _latency(oldest: bytes | None, now: float) -> float:
    if oldest is None:
        return 0.0
    try:
        enqueued_at = payloads.parse(oldest).enqueued_at
    except MalformedPayload:
        return 0.0  # a worker will bury it; its age is nobody's latency
    return max(0.0, now - enqueued_at) if enqueued_at is not None else 0.0

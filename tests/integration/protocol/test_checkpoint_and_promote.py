"""Cursor and progress are written only by the holder; due jobs move to their queue in one step."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from jobworker.client.control import carry_out_async
from jobworker.protocol.keys import Keys
from jobworker.protocol.number_sets import chunks_of, packed
from jobworker.protocol.progress import job_progress
from jobworker.protocol.reading import activities, queue_depths
from jobworker.protocol.records import Checkpoint, DoneIds, DrainAnswer, Number, Progress, Wish
from jobworker.protocol.scheduling import Move, move
from jobworker.protocol.scripts import FleetScripts
from tests.integration.protocol.conftest import Birth


async def test_a_checkpoint_can_be_read_back_with_its_progress(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    errors = ((2, ("already registered", "no such department")),)
    progress = Progress(processed=2, failed=1, total=5, errors=errors, failed_rows=packed(chunks_of([2])))
    assert await worker.checkpoint(Number(1), "jid", Checkpoint(b"[3]", 2, 1.5, progress)) is Wish.NONE
    state = await outside.iteration_state("jid")
    assert (state.cursor, state.executions, state.run_seconds, state.cancelled) == (b"[3]", 2, 1.5, False)
    known = await carry_out_async(redis, job_progress(keys, "jid", errors=None))
    assert known is not None
    assert (known.processed, known.failed, known.total) == (2, 1, 5)
    assert known.errors == {2: ("already registered", "no such department")}
    assert await redis.hgetall(keys.failed_rows("jid")) == {b"0": b"\x04"}


async def test_checkpoint_that_tells_nothing_new_refreshes_its_stamp_alone(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 2, 1.0, Progress(processed=3), age_seconds=5.0))
    first = await redis.hget(keys.checkpoints(worker.worker), "1")
    await redis.config_resetstat()
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 2, 2.0))
    calls = await redis.info("commandstats")
    assert calls["cmdstat_hset"]["calls"] == 1, "the stamp"
    assert (await outside.iteration_state("jid")).run_seconds == 1.0
    second = await redis.hget(keys.checkpoints(worker.worker), "1")
    assert first is not None
    assert second is not None
    assert int(second) > int(first)


async def test_checkpoint_that_redis_lost_is_written_again(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 2, 1.0))
    await redis.delete(keys.iteration("jid"))
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 2, 2.0))
    assert (await outside.iteration_state("jid")).cursor == b"3"


async def test_checkpoint_is_as_old_as_what_it_does_not_cover(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 2, 1.0, age_seconds=600.0))
    (seen,) = await activities(redis, keys, [worker.worker])
    assert seen.checkpoint_age_seconds is not None
    assert 600.0 <= seen.checkpoint_age_seconds < 660.0
    assert await outside.quiet(worker.worker, "test")
    for most, answer in ((500.0, DrainAnswer.HELD), (700.0, DrainAnswer.CHECKPOINTED)):
        assert await outside.confirm_drained(worker.worker, "test", worker.epoch, most) is answer


async def test_tries_of_an_item_are_forgotten_with_the_item(
    keys: Keys, redis: Redis, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"3", 1, 1.0, tries=2))
    assert (await outside.iteration_state("jid")).tries == 2
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"4", 1, 1.0))
    assert (await outside.iteration_state("jid")).tries == 0
    assert await redis.hkeys(keys.iteration("jid")) == [b"c", b"ex", b"rt"], "nothing that no job uses"


async def test_everything_that_a_checkpoint_writes_has_an_end(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    progress = Progress(1, 1, None, ((1, ("bad",)),), packed(chunks_of([1])), (DoneIds("user", ((0, b"1"),), ("x",)),))
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"1", 1, 0.0, progress), state_seconds=1000)
    for key in (
        keys.iteration("jid"),
        keys.progress("jid"),
        keys.failed_rows("jid"),
        keys.errors("jid"),
        *keys.done("jid", "user"),
    ):
        assert 0 < await redis.ttl(key) <= 1000, key


async def test_a_cancelled_job_hears_of_it_at_its_next_checkpoint(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"x"])
    await worker.take(["default"], 1, 1)
    await redis.hsetnx(keys.iteration("jid"), "cancelled", "1700000000")
    assert await worker.checkpoint(Number(1), "jid", Checkpoint(b"1", 1, 0.0)) is Wish.CANCEL


async def test_a_state_without_a_cursor_is_one_that_never_began(
    redis: Redis, keys: Keys, outside: FleetScripts
) -> None:
    await redis.hset(keys.iteration("jid"), "cancelled", "1700000000")
    state = await outside.iteration_state("jid")
    assert (state.cursor, state.executions, state.cancelled) == (None, 0, True)


async def test_two_schedulers_move_a_due_job_once(redis: Redis, keys: Keys) -> None:
    await redis.zadd(keys.schedule, {b"due": 1.0})
    moves = [Move(b"due", "default", b"payload")]
    both = await asyncio.gather(*(move(redis, keys, keys.schedule, moves, 2.0) for _ in range(2)))
    assert sorted(both) == [0, 1]
    assert await redis.lrange(keys.queue("default"), 0, -1) == [b"payload"]
    assert await redis.smembers(keys.queues) == {b"default"}


async def test_depth_and_latency_of_queues(redis: Redis, keys: Keys, outside: FleetScripts) -> None:
    await outside.enqueue(
        "old", [b'{"class":"A","args":[],"jid":"1","enqueued_at":1.5}', b'{"class":"A","args":[],"jid":"2"}']
    )
    await outside.enqueue("junk", [b"not json"])
    await redis.sadd(keys.paused, "junk")
    old, junk, empty = await queue_depths(redis, keys, ["old", "junk", "empty"])
    assert (old.depth, old.paused) == (2, False)
    assert old.latency_seconds > 1_000_000
    assert (junk.depth, junk.latency_seconds, junk.paused) == (1, 0.0, True)
    assert (empty.depth, empty.latency_seconds) == (0, 0.0)

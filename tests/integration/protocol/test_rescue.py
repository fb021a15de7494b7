"""What a dead worker held runs again; what a live one holds is left alone; no job comes back twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker.errors import NotHeld, StaleEpoch
from jobworker.protocol import payload as payloads
from jobworker.protocol.deaths import POISON_AFTER
from jobworker.protocol.keys import Keys
from jobworker.protocol.reading import activities, fleet_members
from jobworker.protocol.records import Checkpoint, Entry, Finished, Number, RescueAnswer, WorkerId
from jobworker.protocol.rescue import DEATHS, STORY, Death, rescue
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from tests.integration.protocol.conftest import FLEET, Birth
from tests.waiting import wait_until

GONE = Death(vouched=True, forget=True)


def job(name: str) -> bytes:
    return payloads.new("Import", [name], queue="default", now=0.0).to_json()


async def hold(outside: FleetScripts, worker: WorkerScripts, *names: str) -> None:
    await outside.enqueue("default", [job(name) for name in names])
    await worker.take(["default"], len(names), 1)


def once_after_reading(outside: FleetScripts, happening: Callable[[], Awaitable[object]]) -> None:
    """Let something happen between the moment when a rescuer has read what is held and the moment when it moves it."""
    original = outside.held

    async def held(worker: WorkerId) -> tuple[Entry, ...]:
        answer = await original(worker)
        outside.held = original  # type: ignore[method-assign]
        await happening()
        return answer

    outside.held = held  # type: ignore[method-assign]


async def queued(redis: Redis, keys: Keys) -> list[str]:
    """Names of the jobs on the queue, the next to be taken first."""
    raw = await redis.lrange(keys.queue("default"), 0, -1)
    return [orjson.loads(item)["args"][0] for item in reversed(raw)]


async def test_jobs_of_a_pod_that_is_gone_are_taken_next_in_their_old_order(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a", "b")
    await outside.enqueue("default", [job("later")])
    rescued = await rescue(outside, worker.worker, FLEET, GONE)
    assert (rescued.answer, rescued.moved) == (RescueAnswer.OK, 2)
    assert await queued(redis, keys) == ["a", "b", "later"]


async def test_nothing_of_the_dead_worker_is_left_behind_but_for_a_day_that_it_was_rescued(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a")
    await worker.checkpoint(Number(1), "jid", Checkpoint(b"1", 1, 0.0))
    await outside.quiet(worker.worker, "r")
    await rescue(outside, worker.worker, FLEET, GONE)
    left = [key for key in await redis.keys("*") if b"pod-1" in key]
    assert left == [keys.rescued("pod-1").encode()]
    assert 0 < await redis.ttl(left[0]) <= 24 * 3600
    assert await fleet_members(redis, keys, FLEET) == {}
    assert await redis.smembers(keys.workers) == set()


async def test_a_live_worker_is_not_robbed(outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await hold(outside, worker, "a")
    rescued = await rescue(outside, worker.worker, FLEET, Death())
    assert (rescued.answer, rescued.moved) == (RescueAnswer.ALIVE, 0)
    assert len(await outside.held(worker.worker)) == 1


async def test_a_worker_whose_heartbeat_ran_out_is_rescued_without_a_voucher(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth(ttl_seconds=0.05)
    await hold(outside, worker, "a")
    await wait_until(lambda: _gone(redis, keys, worker), 5)
    assert (await rescue(outside, worker.worker, FLEET, Death())).moved == 1
    assert await queued(redis, keys) == ["a"]


async def _gone(redis: Redis, keys: Keys, worker: WorkerScripts) -> bool:
    return not await redis.exists(keys.alive(worker.worker))


async def test_a_stopped_worker_that_comes_back_after_its_rescue_does_no_harm(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    sleeper = await birth("pod-1")
    await hold(outside, sleeper, "a")
    await rescue(outside, sleeper.worker, FLEET, GONE)
    heir = await birth("pod-2")
    assert len((await heir.take(["default"], 1, 1)).entries) == 1
    with pytest.raises(StaleEpoch):
        await sleeper.finish([Finished(Number(1), "default")])
    with pytest.raises(StaleEpoch):
        await sleeper.checkpoint(Number(1), "jid", Checkpoint(b"9", 1, 0.0))
    assert len(await outside.held(heir.worker)) == 1
    assert await redis.get(keys.stat("processed")) is None


async def test_finish_after_the_job_was_given_to_somebody_else_says_so(
    outside: FleetScripts, birth: Birth, redis: Redis, keys: Keys
) -> None:
    """The entry is gone though the life goes on: an end that nobody waits for counts for nothing."""
    worker = await birth()
    await hold(outside, worker, "a")
    await redis.hdel(keys.working(worker.worker), "1")
    assert (await worker.finish([Finished(Number(1), "default")])).lost == 1
    with pytest.raises(NotHeld):
        await worker.checkpoint(Number(1), "jid", Checkpoint(b"9", 1, 0.0))


async def test_a_vouched_life_that_has_ended_is_not_confused_with_the_next(outside: FleetScripts, birth: Birth) -> None:
    """RACE: the operator saw the container dead; before its rescue arrives, the new container has begun to work."""
    old = await birth()
    new = await birth(register=False)
    await new.register(60, {})
    await hold(outside, new, "a")
    rescued = await rescue(outside, old.worker, FLEET, Death(vouched=True, epoch=old.epoch))
    assert (rescued.answer, rescued.moved) == (RescueAnswer.MOVED, 0)
    assert len(await outside.held(new.worker)) == 1


async def test_a_new_life_begins_only_after_the_jobs_of_the_old_one_were_rescued(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    old = await birth()
    await hold(outside, old, "a", "b")
    new = await birth(register=False)
    assert await new.register(60, {}) is False
    assert (await rescue(outside, old.worker, FLEET, Death(vouched=True))).moved == 2
    assert await new.register(60, {}) is None
    assert await queued(redis, keys) == ["a", "b"]


async def test_two_rescuers_move_each_job_once(redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth) -> None:
    worker = await birth()
    await hold(outside, worker, *[f"job {n}" for n in range(200)])
    first, second = await asyncio.gather(
        rescue(outside, worker.worker, FLEET, GONE), rescue(outside, worker.worker, FLEET, GONE)
    )
    assert first.moved + second.moved == 200
    assert len(await queued(redis, keys)) == 200


async def test_a_take_between_the_reading_and_the_moving_is_rescued_as_well(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a")
    await outside.enqueue("default", [job("b")])
    once_after_reading(outside, lambda: worker.take(["default"], 1, 2))
    assert (await rescue(outside, worker.worker, FLEET, GONE)).moved == 2
    assert sorted(await queued(redis, keys)) == ["a", "b"]


async def test_a_job_finished_between_the_reading_and_the_moving_does_not_come_back(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a", "b")
    once_after_reading(outside, lambda: worker.finish([Finished(Number(1), "default")]))
    assert (await rescue(outside, worker.worker, FLEET, GONE)).moved == 1
    assert await queued(redis, keys) == ["b"]


async def test_a_life_that_begins_between_the_reading_and_the_moving_keeps_its_jobs(
    outside: FleetScripts, birth: Birth
) -> None:
    old = await birth()
    new = await birth(register=False)

    async def begin() -> None:
        await new.register(60, {})
        await hold(outside, new, "a")

    once_after_reading(outside, begin)
    rescued = await rescue(outside, old.worker, FLEET, Death(vouched=True))
    assert (rescued.answer, rescued.moved) == (RescueAnswer.MOVED, 0)
    assert len(await outside.held(new.worker)) == 1


async def test_an_unplanned_death_is_counted_and_the_third_buries_the_job(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    await outside.enqueue("default", [job("killer")])
    for deaths in (1, 2, 3):
        worker = await birth(f"pod-{deaths}")
        await worker.take(["default"], 1, 1)
        rescued = await rescue(outside, worker.worker, FLEET, GONE)
        assert rescued.poisoned == (1 if deaths == 3 else 0)
    assert await queued(redis, keys) == []
    (dead,) = [orjson.loads(str(item, "utf-8")) for item in await redis.zrange(keys.dead, 0, -1)]  # type: ignore[arg-type]
    assert dead[DEATHS] == 3
    assert "none of them stopped on purpose" in dead["error_message"]


async def die_of(outside: FleetScripts, birth: Birth, raw: bytes, times: int) -> list[int]:
    """Let as many workers die of a job; how many jobs were poison at each death."""
    poisoned = []
    await outside.enqueue("default", [raw])
    for n in range(times):
        worker = await birth(f"pod-{n}")
        await worker.take(["default"], 1, 1)
        poisoned.append((await rescue(outside, worker.worker, FLEET, GONE)).poisoned)
    return poisoned


async def test_job_says_itself_how_many_deaths_make_it_poison(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    once = payloads.new("Import", ["once"], queue="default", now=0.0).with_fields(jw_poison_after=1)
    never = payloads.new("Import", ["never"], queue="default", now=0.0).with_fields(jw_poison_after=0)
    assert await die_of(outside, birth, once.to_json(), 1) == [1]
    assert await die_of(outside, birth, never.to_json(), 5) == [0, 0, 0, 0, 0]
    assert await queued(redis, keys) == ["never"]


async def test_story_of_a_poisoned_job_names_workers_pods_and_times_and_leaves_a_notice(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    await outside.enqueue("default", [job("killer")])
    for n in range(3):
        worker = await birth(f"uid-{n}", register=False)
        await worker.register(60, {"pod": f"mailer-{n}"})
        await worker.take(["default"], 1, 1)
        await rescue(outside, worker.worker, FLEET, GONE)
    (raw,) = await redis.zrange(keys.dead, 0, -1)
    dead = orjson.loads(str(raw, "utf-8"))  # type: ignore[arg-type]
    assert [(death["worker"], death["on"]) for death in dead[STORY]] == [(f"uid-{n}", f"mailer-{n}") for n in range(3)]
    assert all(death["at"] > 1_700_000_000 for death in dead[STORY])
    assert "uid-2 on mailer-2, found dead at 2" in dead["error_message"]
    assert await redis.zrange(keys.deaths, 0, -1) == [raw]


async def test_poison_that_shall_not_be_kept_leaves_its_notice_alone(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    raw = payloads.new("Import", [1], queue="default", now=0.0).with_fields(dead=False, jw_poison_after=1).to_json()
    assert await die_of(outside, birth, raw, 1) == [1]
    assert await redis.zcard(keys.dead) == 0
    assert await queued(redis, keys) == []
    assert await redis.zcard(keys.deaths) == 1


async def test_planned_deaths_never_count_as_poison(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    await outside.enqueue("default", [job("slow")])
    for n in range(5):
        worker = await birth(f"pod-{n}")
        await worker.take(["default"], 1, 1)
        await rescue(outside, worker.worker, FLEET, Death(vouched=True, planned=True, forget=True))
    assert await queued(redis, keys) == ["slow"]
    assert DEATHS not in orjson.loads((await redis.lrange(keys.queue("default"), 0, -1))[0])


async def test_bytes_that_are_no_json_are_rescued_as_they_are(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await outside.enqueue("default", [b"\xff not json"])
    await worker.take(["default"], 1, 1)
    await rescue(outside, worker.worker, FLEET, GONE)
    assert await redis.lrange(keys.queue("default"), 0, -1) == [b"\xff not json"]


async def test_activity_tells_life_work_and_age_of_checkpoints(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    busy, idle = await birth("busy"), await birth("idle")
    await hold(outside, busy, "a")
    await busy.beat(60, 1, {})
    await outside.quiet(idle.worker, "r")
    seen_busy, seen_idle, unknown = await activities(redis, keys, [busy.worker, idle.worker, "nobody"])  # type: ignore[list-item]
    assert (seen_busy.epoch, seen_busy.alive, seen_busy.held, seen_busy.running) == (busy.epoch, True, 1, 1)
    assert (seen_busy.quiet, seen_busy.checkpoint_age_seconds, seen_busy.concurrency) == (None, None, 5)
    assert seen_busy.beat_age_seconds is not None
    assert seen_busy.beat_age_seconds < 30
    assert (seen_idle.held, seen_idle.quiet, seen_idle.checkpoint_age_seconds) == (0, "r", 0)
    assert (unknown.epoch, unknown.alive, unknown.held) == (None, False, 0)
    await busy.checkpoint(Number(1), "jid", Checkpoint(b"1", 1, 0.0))
    (seen_busy,) = await activities(redis, keys, [busy.worker])
    assert seen_busy.checkpoint_age_seconds is not None
    assert seen_busy.checkpoint_age_seconds < 30


async def test_a_clean_end_leaves_nothing_and_one_that_holds_jobs_leaves_them_for_a_rescue(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a")
    assert await worker.deregister() is False
    assert (await rescue(outside, worker.worker, FLEET, Death())).moved == 1
    other = await birth("pod-2")
    assert await other.deregister() is True
    assert [key for key in await redis.keys("*") if b"pod-2" in key] == []


async def test_a_worker_killed_after_it_was_told_to_stop_did_not_die_of_its_jobs(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    for n in range(5):
        worker = await birth(f"pod-{n}")
        if n == 0:
            await outside.enqueue("default", [job("slow")])
        await worker.take(["default"], 1, 1)
        await worker.beat(60, 1, {"stopping": 1})
        await rescue(outside, worker.worker, FLEET, GONE)
    assert await queued(redis, keys) == ["slow"]
    assert DEATHS not in orjson.loads((await redis.lrange(keys.queue("default"), 0, -1))[0])


async def test_registration_asked_again_since_its_answer_was_lost_keeps_what_the_life_holds(
    outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    await hold(outside, worker, "a")
    assert await worker.register(60, {}) is None
    assert len(await outside.held(worker.worker)) == 1


async def test_a_job_names_the_queue_that_it_was_fetched_from_after_a_death(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    for jid, most in (("back", 3), ("dead", 1)):
        body = {"class": "Import", "args": [], "jid": jid, "queue": "elsewhere", POISON_AFTER: most}
        await outside.enqueue("default", [orjson.dumps(body)])
    await worker.take(["default"], 2, 1)
    assert (await rescue(outside, worker.worker, FLEET, GONE)).moved == 2
    (back,) = await redis.lrange(keys.queue("default"), 0, -1)
    (dead,) = cast("list[bytes]", await redis.zrange(keys.dead, 0, -1))
    assert [(orjson.loads(raw)["jid"], orjson.loads(raw)["queue"]) for raw in (back, dead)] == [
        ("back", "default"),
        ("dead", "default"),
    ]

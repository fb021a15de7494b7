"""A running job is cancelled, paused and resumed from outside: seen at once, obeyed after the item that it is at."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, list_items, throttled
from jobworker.client.control import carry_out_async
from jobworker.protocol import control
from jobworker.protocol.control import ControlAnswer, Standing, Wanted
from jobworker.protocol.limits import QueueLimit, inflight, set_limit
from jobworker.runtime import wishes
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig, rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

ITEMS = 100_000


class Walk(IteratingJob):
    """Walks for hours, never writes a checkpoint by itself, and notes what it did."""

    checkpoint_seconds = 3600.0
    walked: list[int] = []  # noqa: RUF012  # set anew by each test
    called: list[str] = []  # noqa: RUF012  # the same

    def build_enumerator(self, *, cursor: int | None) -> list_items[int]:
        return list_items(range(ITEMS), cursor)

    def each_iteration(self, item: int) -> Any:
        self.walked.append(item)
        time.sleep(0.002)

    def on_start(self) -> None:
        self.called.append("start")

    def on_resume(self) -> None:
        self.called.append("resume")

    def on_stop(self) -> None:
        self.called.append("stop")

    def on_cancel(self) -> None:
        self.called.append("cancel")

    def on_complete(self) -> None:
        self.called.append("complete")


class AsyncWalk(Walk):
    """The same on the event loop."""

    async def each_iteration(self, item: int) -> None:
        self.walked.append(item)
        await asyncio.sleep(0.002)


@pytest.fixture(params=[Walk, AsyncWalk], ids=["plain", "async"])
def walk(request: pytest.FixtureRequest) -> type[Walk]:
    chosen = cast("type[Walk]", request.param)
    chosen.walked, chosen.called = [], []
    return chosen


def application(walk: type[Walk]) -> App:
    app = App()
    app.job(name="Walk")(type("Fresh", (walk,), {}))

    @app.job
    async def plain(seconds: float) -> None:
        await asyncio.sleep(seconds)

    return app


async def ask(redis: Redis, jid: str, wanted: Wanted) -> ControlAnswer:
    return await carry_out_async(redis, control.ask(KEYS, jid, wanted))


async def parked(redis: Redis) -> bool:
    return bool(await redis.hlen(KEYS.parked))


async def until_walking(walk: type[Walk]) -> None:
    await wait_until(lambda: len(walk.walked) > 5, 20)


async def past_the_first_checkpoint(redis: Redis, jid: str) -> None:
    """Each run writes that it has begun; the next checkpoint of these jobs comes in an hour."""

    async def written() -> bool:
        return await redis.hexists(KEYS.iteration(jid), "c")

    await wait_until(written, 20)


def listeners(rig: Rig) -> list[wishes.Wishes]:
    watches = rig.fetch._arrivals._tracking._watches
    return [watch for watch in watches if isinstance(watch, wishes.Wishes)]


def is_one_walk(walked: list[int]) -> bool:
    return walked == list(range(len(walked)))


async def test_cancelled_job_ends_after_its_item_and_calls_its_callbacks(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await past_the_first_checkpoint(redis, jid)
        answer = await ask(redis, jid, Wanted.CANCEL)
        assert answer == ControlAnswer(jid, Standing.RUNNING, worker=rig.life.worker)
        await wait_until(rig.holds_nothing, 20)
        assert await rig.processed() == 1
    assert {"start", "cancel", "stop", "complete"} == set(walk.called)
    assert is_one_walk(walk.walked)
    assert await redis.exists(KEYS.iteration(jid)) == 0
    assert await redis.hget(KEYS.progress(jid), "end") == b"cancelled"


async def test_sidekiqs_cancel_is_heard_as_ours(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await past_the_first_checkpoint(redis, jid)
        # What Sidekiq's Iteration client does.
        await redis.hsetnx(KEYS.iteration(jid), "cancelled", str(int(time.time())))
        await redis.expire(KEYS.iteration(jid), 30 * 24 * 3600)
        await wait_until(rig.holds_nothing, 20)
    assert "cancel" in walk.called


async def test_paused_job_rests_and_goes_on_with_its_next_item(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        await set_limit(redis, KEYS, "default", QueueLimit(cluster=1))
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        assert (await ask(redis, jid, Wanted.PAUSE)).standing is Standing.RUNNING
        await wait_until(lambda: parked(redis), 20)
        await wait_until(rig.holds_nothing, 20)
        assert (await rig.processed(), await inflight(redis, KEYS)) == (0, {})
        rested = len(walk.walked)
        # Its slot is free for others, its queue too.
        await rig.enqueue("plain", 0)

        async def other_ran() -> bool:
            return await rig.processed() == 1

        await wait_until(other_ran, 20)
        assert len(walk.walked) == rested
        assert walk.called == ["start", "stop"]
        assert (await ask(redis, jid, Wanted.RESUME)).standing is Standing.PAUSED
        await wait_until(lambda: len(walk.walked) > rested, 20)
        assert walk.called == ["start", "stop", "resume"]
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(rig.holds_nothing, 20)
    assert is_one_walk(walk.walked)


async def test_job_that_was_paused_before_it_ran_is_laid_aside_when_it_is_taken(redis: Redis, walk: type[Walk]) -> None:
    async with Rig.of(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        assert await ask(redis, jid, Wanted.PAUSE) == ControlAnswer(jid, Standing.WAITING)
        rig.start()
        await wait_until(lambda: parked(redis), 20)
        await wait_until(rig.holds_nothing, 20)
        assert (walk.called, walk.walked) == ([], [])
        await ask(redis, jid, Wanted.RESUME)
        await wait_until(lambda: walk.walked, 20)
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(rig.holds_nothing, 20)


async def test_job_cancelled_while_it_rests_ends_without_an_item(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        await ask(redis, jid, Wanted.PAUSE)
        await wait_until(lambda: parked(redis), 20)
        rested = len(walk.walked)
        assert (await ask(redis, jid, Wanted.CANCEL)).standing is Standing.PAUSED

        async def over() -> bool:
            return await rig.processed() == 1

        await wait_until(over, 20)
    assert len(walk.walked) == rested
    assert "cancel" in walk.called


async def test_nudge_that_is_lost_costs_no_more_than_the_next_checkpoint(
    redis: Redis, walk: type[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    # RACE in `jobworker.runtime.wishes`: the message does not come, for the connection is dead and nobody knows.
    monkeypatch.setattr(wishes.Wishes, "answered", lambda *_: None)
    monkeypatch.setattr(walk, "checkpoint_seconds", 1.5)
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        await ask(redis, jid, Wanted.PAUSE)
        await wait_until(lambda: parked(redis), 20)
        await wait_until(rig.holds_nothing, 20)
    assert is_one_walk(walk.walked)


async def test_wish_that_is_written_while_no_connection_tells_of_it_is_heard_with_the_next_one(
    redis: Redis, walk: type[Walk]
) -> None:
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await past_the_first_checkpoint(redis, jid)
        (listener,) = listeners(rig)
        await wait_until(lambda: listener.armed and listener._later is None, 20)
        tracking = await redis.client_list()
        numbers = [client["id"] for client in tracking if "t" in client["flags"]]
        assert numbers
        async with redis.pipeline(transaction=True) as pipe:
            # One step: the wish is written when the connection that would have told of it is gone.
            killed = [pipe.client_kill_filter(_id=number) for number in numbers]
            _ = killed, pipe.hset(KEYS.iteration(jid), "paused", "1")
            await pipe.execute()
        await wait_until(lambda: parked(redis), 20)
        await wait_until(rig.holds_nothing, 20)


async def test_resume_that_comes_before_the_job_has_left_lets_it_go_on(
    redis: Redis, walk: type[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    # RACE in `park.lua`: the wish is withdrawn between the checkpoint that told of it and the parking.
    parking = control.park

    async def late(*args: Any) -> bool:
        assert (await ask(redis, args[-1], Wanted.RESUME)).standing is Standing.RUNNING
        monkeypatch.setattr(control, "park", parking)
        return await parking(*args)

    monkeypatch.setattr(control, "park", late)
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        await ask(redis, jid, Wanted.PAUSE)
        await wait_until(lambda: "resume" in walk.called, 20)
        assert not await parked(redis)
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(rig.holds_nothing, 20)
    assert is_one_walk(walk.walked)


async def test_job_that_fails_after_it_was_paused_rests_at_its_next_try(redis: Redis, walk: type[Walk]) -> None:
    def raises(self: Walk, item: int) -> None:
        self.walked.append(item)
        raise ValueError("broken")

    app = App()
    app.job(name="Walk")(type("Fresh", (walk,), {"each_iteration": raises}))
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Walk")

        async def failed() -> list[bytes]:
            return cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))

        (raw,) = await wait_until(failed, 20)
        assert (await ask(redis, jid, Wanted.PAUSE)).standing is Standing.WAITING
        await redis.zrem(KEYS.retry, raw)
        await rig.life.fleet.enqueue("default", [raw])
        await wait_until(lambda: parked(redis), 20)
        (resting,) = await carry_out_async(redis, control.parked_jobs(KEYS))
        assert resting.payload == raw
    assert walk.walked == [0]


async def test_job_that_does_not_iterate_is_left_alone(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        jid = await rig.enqueue("plain", 60)
        await wait_until(lambda: rig.executor.running, 20)
        for wanted in Wanted:
            answer = await ask(redis, jid, wanted)
            assert (answer.standing, answer.accepted) == (Standing.NOT_ITERATING, False)


async def test_job_that_waits_for_its_next_item_is_paused_and_cancelled_without_it(
    redis: Redis, walk: type[Walk]
) -> None:
    def build_enumerator(_: Walk, *, cursor: int | None) -> throttled:
        return throttled(list_items(range(ITEMS), cursor), per_second=1 / 3600)

    app = App()
    app.job(name="Walk")(type("Fresh", (walk,), {"build_enumerator": build_enumerator}))
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Walk")
        await wait_until(lambda: walk.walked, 20)
        await ask(redis, jid, Wanted.PAUSE)
        await wait_until(lambda: parked(redis), 20)
        await ask(redis, jid, Wanted.RESUME)
        await wait_until(lambda: "resume" in walk.called, 20)
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(rig.holds_nothing, 20)
    assert is_one_walk(walk.walked)


async def test_foreign_key_where_a_wish_would_stand_does_not_make_the_worker_deaf(
    redis: Redis, walk: type[Walk]
) -> None:
    async with rigged(redis, application(walk)) as rig:
        tracking = rig.fetch._arrivals._tracking
        await wait_until(lambda: tracking.works, 20)
        await redis.set(KEYS.iteration("mine"), "somebody's")
        await rig.life.fleet.enqueue("default", [b'{"class":"Walk","args":[],"jid":"mine"}'])

        async def failed() -> int:
            return int(await redis.zcard(KEYS.retry))

        await wait_until(failed, 20)
        await wait_until(lambda: not tracking._asked, 20)
        assert tracking.works
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(rig.holds_nothing, 20)


async def test_only_iterating_jobs_are_listened_for_and_only_while_they_run(redis: Redis, walk: type[Walk]) -> None:
    async with rigged(redis, application(walk)) as rig:
        await rig.enqueue("plain", 60)
        jid = await rig.enqueue("Walk")
        await until_walking(walk)
        assert len(rig.executor.running) == 2
        assert [listener.keys for listener in listeners(rig)] == [(KEYS.iteration(jid),)]
        await ask(redis, jid, Wanted.CANCEL)
        await wait_until(lambda: len(rig.executor.held) == 1, 20)
        assert listeners(rig) == []

"""A take whose answer is lost may have been carried out: its jobs are found and run, none under a number used twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import redis.exceptions
from redis.asyncio import Redis
from typing_extensions import override

from jobworker import App, Client
from jobworker.protocol.cancellation import end
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Taken, WorkerId
from jobworker.protocol.scripts import NOTHING_HELD, WorkerScripts
from jobworker.runtime.executor import Executor
from jobworker.runtime.fetch import Fetch
from jobworker.runtime.keeper import RedisKeeper
from jobworker.runtime.life import Life
from jobworker.runtime.link import Link
from jobworker.runtime.order import QueueOrder
from jobworker.runtime.running import Running
from jobworker.runtime.settings import Order, QueueWeight, Settings
from jobworker.runtime.state import WorkerState
from jobworker.runtime.tracking import Tracking
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class AnswerLost(WorkerScripts):
    """Carries the first take out and loses its answer, as a connection does that breaks in between."""

    lost = 0

    @override
    async def take(
        self, queues: Sequence[str], count: int, number: int, held: Mapping[str, int] = NOTHING_HELD
    ) -> Taken:
        taken = await super().take(queues, count, number, held)
        if taken.entries and not self.lost:
            self.lost = len(taken.entries)
            raise redis.exceptions.ConnectionError("the answer was lost")
        return taken


class CarriedOutLate(WorkerScripts):
    """Loses the first take on its way; Redis carries it out between two later ones."""

    lost = 0
    waiting: tuple[Sequence[str], int, int] | None = None

    @override
    async def take(
        self, queues: Sequence[str], count: int, number: int, held: Mapping[str, int] = NOTHING_HELD
    ) -> Taken:
        if not self.lost:
            self.lost, self.waiting = count, (queues, count, number)
            raise redis.exceptions.ConnectionError("no answer came")
        taken = await super().take(queues, count, number, held)
        if self.waiting is not None and taken.entries:
            await super().take(*self.waiting)
            self.waiting = None
        return taken


@pytest.fixture(params=[AnswerLost, CarriedOutLate])
async def ran(redis: Redis, request: pytest.FixtureRequest) -> AsyncIterator[list[int]]:
    app = App()
    numbers: list[int] = []

    @app.job
    async def note(number: int) -> None:
        numbers.append(number)

    state, link, keys = WorkerState(), Link("redis"), Keys()
    life = Life(redis, keys, WorkerId("a"), Settings(), state)
    await life.begin()
    life.scripts = scripts = request.param(redis, keys, life.worker, life.scripts.epoch, "local/default")

    def keeper(run: Running) -> RedisKeeper:
        return RedisKeeper(life, link, run)

    await Client(redis).enqueue_many("note", [[n] for n in range(12)])
    executor = Executor(app.jobs, state, keeper, 5)
    tracking = Tracking(redis, link)
    fetch = Fetch(
        life, link, state, executor, tracking, QueueOrder((QueueWeight("default"),), Order.STRICT), lambda: None
    )
    task, listening = asyncio.create_task(fetch.run()), asyncio.create_task(tracking.run())
    yield numbers
    await end([task, listening])
    assert task.done()
    assert scripts.lost > 0, "no answer was lost, so nothing was tested"


async def test_jobs_of_a_take_whose_answer_was_lost_run_once(redis: Redis, ran: list[int]) -> None:
    await wait_until(lambda: len(ran) >= 12, 10)

    async def acknowledged() -> bool:
        return int(await redis.get(Keys().stat("processed")) or 0) == 12

    await wait_until(acknowledged, 5)
    assert sorted(ran) == list(range(12))

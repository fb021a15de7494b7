"""Jobs that were taken ahead start soon, or go back: they never wait behind a long one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from redis.asyncio import Redis

from jobworker import App
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def application(ran: list[str], gate: threading.Event) -> App:
    app = App()

    @app.job
    async def short(name: str) -> None:
        ran.append(name)

    @app.job
    async def long(_: str) -> None:
        while not gate.is_set():  # noqa: ASYNC110  # a threading.Event, which the plain ones wait for too
            await asyncio.sleep(0.01)

    @app.job
    def short_plain(name: str) -> None:
        ran.append(name)

    @app.job
    def long_plain(_: str) -> None:
        gate.wait(30)

    return app


@pytest.mark.parametrize("kind", ["", "_plain"])
async def test_jobs_taken_ahead_go_to_other_workers_when_long_jobs_fill_the_slots(
    redis: Redis, gate: threading.Event, kind: str
) -> None:
    ran: list[str] = []
    app = application(ran, gate)
    async with rigged(redis, app, concurrency=2, worker="a") as first:
        # Many short ones teach the worker to take ahead, and behind them come as many long ones as it has slots.
        names = [*(f"before {n}" for n in range(400)), "long", "long", *(f"behind {n}" for n in range(50))]
        classes = [f"long{kind}" if name == "long" else f"short{kind}" for name in names]
        for name, job_class in zip(names, classes, strict=True):
            await first.enqueue(job_class, name)
        await wait_until(lambda: len(first.executor.running) == 2 and "before 399" in ran, 20)
        async with rigged(redis, app, concurrency=2, worker="b"):
            await wait_until(lambda: len(ran) == len(names) - 2, 20)
        assert sorted(ran) == sorted(name for name in names if name != "long")
        gate.set()
        await wait_until(first.holds_nothing, 20)


async def test_quiet_sends_back_what_was_taken_ahead_in_its_order(redis: Redis, gate: threading.Event) -> None:
    ran: list[str] = []
    async with rigged(redis, application(ran, gate), concurrency=1) as rig:
        for n in range(300):
            await rig.enqueue("short", str(n))
        await wait_until(lambda: len(ran) >= 100, 20)
        rig.state.stop()
        await wait_until(rig.holds_nothing, 20)
        left = await redis.llen(KEYS.queue("default"))
    assert ran == [str(n) for n in range(len(ran))]
    assert left == 300 - len(ran)
    payloads = await redis.lrange(KEYS.queue("default"), 0, -1)
    assert [f'"{300 - 1 - place}"'.encode() in payload for place, payload in enumerate(payloads)] == [True] * left

"""A shop whose jobs are captured at a fixed noon, and both faces of the kit and of its simulation, async and plain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from jobworker import IteratingJob
from jobworker.testing import FakeClock, Jobs, SimulatedDrain, capture, simulate_drain, simulate_drain_sync
from tests.unit.worker.testing.appending_jobs import WORLD, Simulate
from tests.unit.worker.testing.shop import NOON, Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def jobs(shop: Shop) -> Iterator[Jobs]:
    with capture(shop.app, clock=FakeClock(NOON)) as jobs:
        yield jobs


@pytest.fixture(params=["async", "plain"])
def both(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    """Of an async method and its plain twin, the one to test, called from a test without or with a loop."""

    async def called(method: Callable[..., Coroutine[Any, Any, Any]], twin: Callable[..., Any], **given: Any) -> Any:
        if request.param == "async":
            return await method(**given)
        return await asyncio.to_thread(lambda: twin(**given))

    return called


@pytest.fixture(params=["async", "plain"])
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """`simulate_drain` on the test's loop, and `simulate_drain_sync` in a thread that has none."""

    async def simulated(job: type[IteratingJob], *args: Any, **options: Any) -> SimulatedDrain:
        given = {"reset": WORLD.clear, "effects": lambda: list(WORLD), **options}
        if request.param == "async":
            return await simulate_drain(job, *args, **given)
        return await asyncio.to_thread(lambda: simulate_drain_sync(job, *args, **given))

    return simulated

"""A shop whose jobs are captured at a fixed noon, and both faces of the kit, async and plain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from jobworker.testing import FakeClock, Jobs, capture
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

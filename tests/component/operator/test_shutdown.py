"""The end of loops that talk to Redis, though the client library swallows a cancellation now and then."""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from jobworker.protocol.cancellation import end
from jobworker_operator.adapters.port import Ask
from jobworker_operator.model.spec import Key, RedisSpec
from jobworker_operator.observe.addresses import Home
from jobworker_operator.observe.redis_watch import RedisWatch


class Swallowing:
    """A client that is asked and never answers, and makes an error of its own of a cancellation, as redis-py 8.1."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.closed = False

    def pipeline(self, **_: Any) -> Self:
        return self

    def pubsub(self, **_: Any) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def hkeys(self, _name: str) -> None: ...

    def zcount(self, *_: object) -> None: ...

    async def execute(self) -> None:
        await self._never()

    async def subscribe(self, *_: str) -> None:
        await self._never()

    async def _never(self) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RedisConnectionError("Connection lost") from None

    async def aclose(self) -> None:
        self.closed = True


async def test_a_watch_ends_though_its_client_swallows_the_cancellation() -> None:
    client = Swallowing()
    watch = RedisWatch("redis://redis", cast("Redis", client), lambda *_: None)
    watch.asks[Key("shop", "mailers"), Home("shop", RedisSpec(url="redis://redis"))] = Ask("shop/mailers", ())
    watch.start()
    await client.asked.wait()
    async with asyncio.timeout(30):  # it never ends otherwise
        await watch.close()
    assert client.closed


async def test_a_task_that_cannot_be_ended_is_named_and_left(caplog: pytest.LogCaptureFixture) -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn(), name="the stubborn one")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end([task])
    assert "the stubborn one" in caplog.text
    let_go.set()
    await task

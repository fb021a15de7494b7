"""Workers reduced to their scripts: what two lives can do to each other without any process."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.records import Epoch, WorkerId
from jobworker.protocol.scripts import FleetScripts, WorkerScripts

FLEET = "shop/mailers"
TTL_SECONDS = 60.0

Birth = Callable[..., Awaitable[WorkerScripts]]


@pytest.fixture(params=["", "{shop}:"], ids=["no prefix", "hash tag as prefix"])
def keys(request: pytest.FixtureRequest) -> Keys:
    return Keys(request.param)


@pytest.fixture
def outside(redis: Redis, keys: Keys) -> FleetScripts:
    return FleetScripts(redis, keys)


@pytest.fixture
def birth(redis: Redis, keys: Keys) -> Birth:
    """Begin a life of a worker, registered unless ``register=False``."""

    async def begin(name: str = "pod-1", *, register: bool = True, ttl_seconds: float = TTL_SECONDS) -> WorkerScripts:
        life = WorkerScripts(redis, keys, WorkerId(name), Epoch(secrets.token_hex(4)), FLEET)
        if register:
            assert await life.register(ttl_seconds, {"concurrency": 5}) is None
        return life

    return begin


async def both(first: Awaitable[object], second: Awaitable[object]) -> tuple[object, object]:
    """Let two calls race; Redis decides the order."""
    a, b = await asyncio.gather(first, second)
    return a, b

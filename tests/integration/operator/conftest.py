"""Workers reduced to their scripts on a real Redis, and an API server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import new
from jobworker.protocol.records import Epoch, WorkerId
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker_operator.adapters.native import NativeAdapter
from jobworker_operator.kube.client import Kube
from tests.component.operator.api_server import ApiServer, serving

FLEET = "shop/mailers"
TTL_SECONDS = 60.0

Birth = Callable[..., Awaitable[WorkerScripts]]


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def kube(api: ApiServer) -> AsyncIterator[Kube]:
    async with api.kube() as client:
        yield client


@pytest.fixture
def adapter(redis: Redis) -> NativeAdapter:
    return NativeAdapter(redis, "")


@pytest.fixture
def outside(redis: Redis) -> FleetScripts:
    return FleetScripts(redis, Keys())


@pytest.fixture
def birth(redis: Redis, outside: FleetScripts) -> Birth:
    """Begin a life of a worker that holds ``jobs`` jobs."""

    async def begin(uid: str, jobs: int = 0, *, pod: str = "", fleet: str = FLEET) -> WorkerScripts:
        worker = WorkerScripts(redis, Keys(), WorkerId(uid), Epoch(f"life of {uid}"), fleet)
        await worker.register(TTL_SECONDS, {"concurrency": 5, "pod": pod})
        if jobs:
            payloads = [new("Mail", [number], queue="default", now=1.0).to_json() for number in range(jobs)]
            await outside.enqueue("default", payloads)
            assert len((await worker.take(["default"], jobs, 1)).entries) == jobs
        return worker

    return begin

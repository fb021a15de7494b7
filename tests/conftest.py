"""Services that tests share: a real Redis for the session, flushed for each test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from tests.redis_server import RedisServer
from tests.s3_server import S3Server


def pytest_configure() -> None:
    # looptime asks for the loop of each test, plain ones too; asked without ever having been told, asyncio makes one
    # that nobody closes, and the warning of it fails whichever test the garbage collector runs in.
    asyncio.set_event_loop(None)
    # A gate gives the same answer twice; whoever works here explores anew at each run, and keeps what is found.
    # Neither measures how long an example takes: a loaded machine is no defect.
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("ci", patient, derandomize=True)
    settings.register_profile("here", patient)
    settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for the whole session; a test that kills or restarts it makes its own instead."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    async with Redis.from_url(redis_server.url, protocol=3) as client:
        await client.flushall()
        yield client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server of the S3 API for the whole session; a test that kills it makes its own instead."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server

"""A worker whose job was given to somebody else while it could not ask: it must not begin what is over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.client.connection import connect
from jobworker.errors import NotHeld
from jobworker.protocol.records import RescueAnswer
from jobworker.protocol.rescue import Death, rescue
from jobworker.runtime.keeper import RedisKeeper
from jobworker.runtime.link import Link
from tests.integration.worker.rig import Rig
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


async def test_iterating_job_that_was_rescued_while_its_place_was_asked_for_does_not_begin_anew(redis: Redis) -> None:
    """Its place may be gone by then, since it is complete elsewhere: read as it stands, that is the first row."""
    async with Rig.of(redis, App()) as rig:
        jid = await rig.enqueue("job")
        (entry,) = (await rig.life.scripts.take(["default"], 1, 1)).entries
        run: Any = SimpleNamespace(payload=SimpleNamespace(jid=jid), entry=entry, disowned=False, cut=False)
        keeper = RedisKeeper(rig.life, Link("redis"), run)
        assert (await keeper.load()).state.cursor is None
        rescued = await rescue(rig.life.fleet, rig.life.worker, "", Death(vouched=True))
        assert rescued.answer is RescueAnswer.OK
        loading = asyncio.create_task(keeper.load())
        await wait_until(lambda: rig.life.stale, 5, "the end of the life is noticed")
        assert not loading.done()
        run.disowned = True
        with pytest.raises(NotHeld):
            await loading


@pytest.mark.parametrize("data", ["kept", "lost"])
async def test_worker_that_was_rescued_after_a_restart_of_redis_does_not_hold_its_jobs_anew(
    tmp_path: Path, data: str
) -> None:
    """It would run them a second time, or hold what others have done."""
    with RedisServer(tmp_path / "redis", append_only=True) as server:
        async with connect(server.url) as redis, Rig.of(redis, App()) as rig:
            await rig.enqueue("job")
            await rig.life.scripts.take(["default"], 1, 1)
            server.kill()
            server.append_only = data == "kept"
            server.start()
            await redis.connection_pool.disconnect()
            if data == "kept":
                rescued = await rescue(rig.life.fleet, rig.life.worker, "", Death(vouched=True))
                assert (rescued.answer, rescued.moved) == (RescueAnswer.OK, 1)
            assert await rig.life.forgotten() is (data == "lost")

"""A parallel job is not held up for ever by a slice that nobody will run: it can be cancelled."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.cli import job_control
from jobworker.protocol.control import Wanted
from jobworker.protocol.job_states import JobState
from jobworker.protocol.keys import Keys
from jobworker.protocol.slices import slice_jid
from jobworker.testing import capture
from tests.integration.iteration.sums import Effects, application, ended
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

KEYS = Keys()


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


def refusing(number: int) -> None:
    if number == 17:
        raise ValueError("not this one")


async def dead(redis: Redis) -> Any:
    raw = cast("list[bytes]", await redis.zrange(KEYS.dead, 0, -1))
    return raw[0] if raw else b""


async def all_but_one_done(client: Client, jid: str) -> bool:
    found = await client.progress(jid)
    states = Counter(one.state for one in (found.slices if found else None) or ())
    return states[JobState.DONE] == 3


@pytest.mark.parametrize("deleted", [False, True], ids=["dead", "deleted from the dead set"])
async def test_cancel_ends_a_job_whose_slice_nobody_will_run(redis: Redis, client: Client, *, deleted: bool) -> None:
    effects = Effects()
    effects.at = refusing
    async with rigged(redis, application(effects)):
        jid = await client.enqueue("Sum", [40, 4], retry=0)
        raw = await wait_until(lambda: dead(redis), 10)
        assert orjson.loads(raw)["jid"] == slice_jid(jid, 1)
        await wait_until(lambda: all_but_one_done(client, jid), 10)
        if deleted:
            await redis.zrem(KEYS.dead, raw)
        told = await job_control.ask(redis, KEYS, jid, Wanted.CANCEL)
        assert told.accepted
        assert told.words == "waited for slices that are dead or were deleted, and is cancelled now"
        found = await ended(client, jid, 2)
    assert found.state is JobState.CANCELLED
    assert Counter(one.state for one in found.slices or ()) == {JobState.DONE: 3, JobState.CANCELLED: 1}
    assert await redis.exists(KEYS.iteration(jid)) == 0
    assert effects.joined == []


async def test_kit_ends_a_cancelled_job_with_a_dead_slice() -> None:
    effects = Effects()
    effects.at = refusing
    app = application(effects)
    with capture(app, raise_errors=False) as jobs:
        jid = await jobs.client.enqueue("Sum", [40, 4], retry=0)
        await jobs.run_all()
        await jobs.client.cancel(jid)
        found = await app.progress(jid)
        assert found is not None
        assert found.state is JobState.CANCELLED
        assert Counter(one.state for one in found.slices or ()) == {JobState.DONE: 3, JobState.CANCELLED: 1}
    assert effects.joined == []

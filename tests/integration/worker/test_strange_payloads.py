"""Bytes that no client of ours would write: they end in the dead set or run, and never end a worker."""

from __future__ import annotations

import time
from typing import cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import RescueAnswer
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scheduling import promote
from tests.integration.worker.conftest import KEYS
from tests.integration.worker.rig import Rig, rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

TOO_DEEP = b'{"class":"note","args":[' + b"[" * 300 + b"]" * 300 + b'],"jid":"deep","queue":"default"}'


async def dead(redis: Redis) -> list[bytes]:
    return cast("list[bytes]", await redis.zrange(KEYS.dead, 0, -1))


def application(ran: list[object]) -> App:
    app = App()

    @app.job
    async def note(value: object) -> None:
        ran.append(value)
        if isinstance(value, list):
            raise TypeError("a list")

    return app


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(TOO_DEEP, id="nested deeper than can be written back"),
        pytest.param(b'{"class":"note","args":[[]],"jid":"x","retry_count":-3,"retry":-1}', id="negative counts"),
        pytest.param(b'{"class":"note","args":[[]],"jid":"x","retry_count":1e300,"retry":0}', id="counts as floats"),
        pytest.param(b'{"class":"note","args":["\\ud800"],"jid":"x"}', id="half a surrogate pair"),
        pytest.param(b'{"class":"note","args":[NaN],"jid":"x"}', id="NaN"),
        pytest.param(b'{"class":"note","args":' + b"[" * 2000 + b"]" * 2000 + b',"jid":"x"}', id="bottomless"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_payload_that_fails_is_buried_and_the_next_job_runs(redis: Redis, raw: bytes) -> None:
    ran: list[object] = []
    async with rigged(redis, application(ran)) as rig:
        await rig.life.fleet.enqueue("default", [raw])
        await rig.enqueue("note", "after")
        await wait_until(lambda: "after" in ran, 5)
        await wait_until(lambda: dead(redis), 5)
        assert not rig.task.done()
        await wait_until(rig.holds_nothing, 5)


async def test_five_megabytes_run_and_come_back_whole_after_a_failure(redis: Redis) -> None:
    ran: list[object] = []
    body = ["x" * 5_000_000]
    async with rigged(redis, application(ran)) as rig:
        await rig.enqueue("note", body)
        (raw,) = await wait_until(lambda: _retry(redis), 10)
        assert orjson.loads(raw)["args"] == [body]


async def test_wrong_number_of_arguments_is_told_with_the_name_of_the_function(redis: Redis) -> None:
    async with rigged(redis, application([])) as rig:
        await rig.enqueue("note")
        (raw,) = await wait_until(lambda: _retry(redis), 5)
        assert "note() missing 1 required positional argument: 'value'" in orjson.loads(raw)["error_message"]


async def test_too_deep_payload_is_promoted_as_it_came(redis: Redis) -> None:
    await redis.zadd(KEYS.schedule, {TOO_DEEP: 1.0})
    assert (await promote(redis, KEYS, KEYS.schedule, await redis.zrange(KEYS.schedule, 0, -1), time.time())).moved == 1  # type: ignore[arg-type]
    assert await redis.lrange(KEYS.queue("default"), 0, -1) == [TOO_DEEP]


async def test_too_deep_payload_does_not_keep_a_rescue_from_the_jobs_beside_it(redis: Redis) -> None:
    async with Rig.of(redis, App()) as rig:
        good = payloads.new("note", [1], queue="default", now=0.0).to_json()
        await rig.life.fleet.enqueue("default", [TOO_DEEP, good])
        await rig.life.scripts.take(["default"], 2, 1)
        rescued = await rescue(rig.life.fleet, rig.life.worker, "", Death(vouched=True))
        assert (rescued.answer, rescued.moved) == (RescueAnswer.OK, 2)
        assert TOO_DEEP in await redis.lrange(Keys().queue("default"), 0, -1)


async def _retry(redis: Redis) -> list[bytes]:
    return cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))

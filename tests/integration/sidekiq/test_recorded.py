"""Payloads and keys of Sidekiq 7.3 and 8.1, which Debian does not carry: read, run, failed and written back in kind."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.processes import remove_dead
from jobworker.protocol.reading import queue_depths
from tests.integration.sidekiq.conftest import StartWorker, Traces
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
KEYS = Keys()
TIMES = ("created_at", "enqueued_at", "failed_at", "retried_at")


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


def payload_of(raw: bytes) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(raw))


def written(job: dict[str, Any]) -> str:
    return json.dumps(job, separators=(",", ":"))


async def write(redis: Redis, recorded: dict[str, Any]) -> None:
    """As that Sidekiq left it in Redis."""
    for key, value in recorded.items():
        if key == "queue:default":
            await redis.sadd("queues", "default")
            await redis.lpush(key, *(written(job) for job in value))
        elif key in {"schedule", "retry"}:
            await redis.zadd(key, {written(entry["job"]): entry["score"] for entry in value})
        elif key == "processes":
            await redis.sadd(key, *value)
            for identity, fields in value.items():
                await redis.hset(identity, mapping={**fields, "info": json.dumps(fields["info"])})
                await redis.expire(identity, 60)
        elif key.startswith("it-"):
            await redis.hset(key, mapping=value)


async def jobs_in(redis: Redis, key: str) -> dict[str, dict[str, Any]]:
    members = cast("list[bytes]", await redis.zrange(key, 0, -1))
    return {job["jid"]: job for job in map(payload_of, members)}


async def test_everything_recorded_is_run_or_kept_with_all_its_fields(
    recorded: dict[str, Any], redis: Redis, start_worker: StartWorker, traces: Traces
) -> None:
    await write(redis, recorded)
    age = (await queue_depths(redis, KEYS, ["default"]))[0].latency_seconds
    assert 3600 < age < 50 * 365 * 86_400, "seconds since December 2025, not milliseconds"
    name = "seven" if recorded["version"].startswith("7") else "eight"
    start_worker("a", "-c", "3")
    await traces.until("counted:python", f"{name}:1", f"{name}:2", f"{name}:scheduled")
    await traces.until("done:python", f"{name} retried")

    by_class = {job["class"].rpartition("::")[2]: job for job in recorded["queue:default"]}
    failed = by_class["FailsOn"]
    foreign = by_class["JobWrapper" if name == "seven" else "Wrapper"]

    async def both() -> bool:
        return (await jobs_in(redis, "retry")).keys() >= {failed["jid"], foreign["jid"]}

    await wait_until(both, 40, "the failed job and the one of a class that nobody has, in the retry set")
    kept = await jobs_in(redis, "retry")
    kind = float if name == "seven" else int
    for job in (failed, foreign):
        back = kept[job["jid"]]
        assert job.items() <= back.items(), "nothing is lost or changed on the way"
        assert {type(back[field]) for field in TIMES if field in back} == {kind}, back
    assert kept[failed["jid"]]["retry_count"] == 0
    assert kept[foreign["jid"]]["error_class"] == "UnknownJob"
    assert set(kept) == {failed["jid"], foreign["jid"]}


async def test_iterating_job_goes_on_where_sidekiq_stopped(
    recorded: dict[str, Any], redis: Redis, start_worker: StartWorker, traces: Traces
) -> None:
    await write(redis, recorded)
    name = "seven" if recorded["version"].startswith("7") else "eight"
    going, cancelled = (key for key in recorded if key.startswith("it-"))
    start_worker("a", "-c", "3")
    await traces.until(f"items {name}:python", "7")
    await traces.until("cancelled:python", "once")

    async def gone() -> bool:
        return not await redis.exists(going, cancelled)

    await wait_until(gone, 40, "the state of both jobs")
    first = int(recorded[going]["c"])
    assert await traces(f"items {name}:python") == {str(number): 1 for number in range(first, 8)}
    assert await traces(f"items {name} cancelled:python") == {}


async def test_promoted_and_failed_jobs_keep_the_format_of_their_times(recorded: dict[str, Any]) -> None:
    kind = float if recorded["version"].startswith("7") else int
    for job in [*recorded["queue:default"], *(entry["job"] for entry in [*recorded["schedule"], *recorded["retry"]])]:
        assert type(payloads.parse(written(job).encode()).time(1.5)) is kind


async def test_processes_with_a_record_stay_and_others_go(recorded: dict[str, Any], redis: Redis) -> None:
    await write(redis, recorded)
    await redis.sadd("processes", "gone:1:000000000000")
    assert await remove_dead(redis, KEYS) == 1
    members = cast("set[bytes]", await redis.smembers("processes"))
    assert {name.decode() for name in members} == set(recorded["processes"])
    assert await remove_dead(redis, KEYS) == 0, "only one of all processes looks, once a minute"


async def test_client_writes_times_as_it_is_told(redis: Redis) -> None:
    seconds, milliseconds = Client(redis), Client(redis, time_format="milliseconds")
    for client, kind in ((seconds, float), (milliseconds, int)):
        await client.enqueue("Count", ["python", 1], queue=kind.__name__)
        await client.enqueue_many("Count", [["python", 2]], queue=kind.__name__)
        await client.schedule(60, "Count", ["python", 3], queue=kind.__name__)
        for raw in cast("list[bytes]", await redis.lrange(f"queue:{kind.__name__}", 0, -1)):
            job = payload_of(raw)
            assert type(job["created_at"]) is type(job["enqueued_at"]) is kind
            assert payloads.parse(raw).enqueued_at == pytest.approx(time.time(), abs=60)
    scheduled = (await jobs_in(redis, "schedule")).values()
    assert {job["queue"]: type(job["created_at"]).__name__ for job in scheduled} == {"float": "float", "int": "int"}
    assert all("enqueued_at" not in job for job in scheduled)

"""What is told of a job while it runs and afterwards: where it is, how far, what was wrong, which ids are done."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, ClassVar, cast

import pytest
from redis.asyncio import Redis

from jobworker import App, Client, IteratingJob, SyncClient, number_range
from jobworker.protocol.job_states import JobState
from jobworker.protocol.keys import Keys
from jobworker.protocol.progress import JobProgress
from jobworker.protocol.records import WorkerId
from jobworker.testing import capture
from tests.integration.worker.rig import rigged
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

KEYS = Keys()


class Gate:
    """Holds a job up at a row."""

    def __init__(self, row: int) -> None:
        self.row = row
        self.reached, self.open = threading.Event(), threading.Event()

    def at(self, row: int) -> None:
        if row == self.row:
            self.reached.set()
            assert self.open.wait(20)


class Import(IteratingJob):
    """Plain: every tenth row has two errors; each row changes a user and a team."""

    checkpoint_seconds = 0.001
    progress_seconds = 1234.0
    gate: ClassVar[Gate] = Gate(0)
    fails_at: ClassVar[set[int]] = set()

    def build_enumerator(self, rows: int, *, cursor: int | None) -> number_range:
        return number_range(1, rows + 1, cursor)

    def each_iteration(self, row: int, rows: int) -> None:  # noqa: ARG002  # each item gets the job's arguments
        if row % 10 == 0:
            self.progress.error("no name", "no age")
        if row in self.fails_at:
            self.fails_at.discard(row)
            raise ValueError("not this one")
        self.progress.done("user", row * 7)
        self.progress.done("team", f"team-{row % 3}")
        self.gate.at(row)


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


@pytest.fixture
def job() -> type[Import]:
    return type("Import", (Import,), {"gate": Gate(0), "fails_at": set()})


async def state(client: Client, jid: str) -> JobState | None:
    found = await client.progress(jid)
    return None if found is None else found.state


async def ended(client: Client, jid: str) -> JobProgress:
    async def over() -> JobProgress | None:
        found = await client.progress(jid)
        return found if found is not None and found.state.over else None

    found = await wait_until(over, 10)
    assert found is not None
    return found


async def test_progress_is_told_while_the_job_runs_and_after_it(
    redis: Redis, client: Client, job: type[Import]
) -> None:
    app = App()
    app.job(retry=False)(job)
    job.gate = Gate(95)
    before = time.time()
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Import", 200)
        await wait_until(job.gate.reached.is_set, 10)

        async def checkpointed() -> JobProgress | None:
            found = await client.progress(jid)
            return found if found is not None and found.processed else None

        running = await wait_until(checkpointed, 10)
        assert running is not None
        assert (running.state, running.worker, running.total) == (JobState.RUNNING, "a", 200)
        assert 0 < running.processed < 95
        assert running.share is not None
        assert running.share < 0.5
        assert running.started_at == running.began_at
        assert before - 5 < (running.started_at or 0) <= (running.updated_at or 0)
        assert running.ended_at is None
        job.gate.open.set()
        found = await ended(client, jid)
    assert (found.state, found.processed, found.failed, found.total) == (JobState.DONE, 200, 20, 200)
    assert (found.rows, found.share, found.worker) == (range(1, 201), 1.0, None)
    assert found.errors == dict.fromkeys(range(10, 201, 10), ("no name", "no age"))
    assert found.done == {"user": 200, "team": 3}
    assert (found.ended_at or 0) >= (found.updated_at or 0) > before - 5
    assert await client.failed_rows(jid) == tuple(range(row, row + 1) for row in range(10, 201, 10))
    kept = [
        KEYS.progress(jid),
        KEYS.errors(jid),
        KEYS.failed_rows(jid),
        *KEYS.done(jid, "user"),
        *KEYS.done(jid, "team"),
    ]
    for key in kept:
        assert await redis.ttl(key) in {-2, *range(1200, 1235)}, key
    assert await redis.exists(KEYS.iteration(jid)) == 0


async def test_states_of_a_job_that_waits_fails_and_is_cancelled(
    redis: Redis, client: Client, job: type[Import]
) -> None:
    app = App()
    app.job(retry=1)(job)
    job.fails_at = {5}
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Import", 9)
        assert await state(client, "unknown") is None

        async def retrying() -> bool:
            return await state(client, jid) is JobState.RETRYING

        await wait_until(retrying, 10)
        (raw,) = cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))
        rig.state.be_quiet_here()
        await redis.zrem(KEYS.retry, raw)
        await redis.lpush(KEYS.queue("default"), raw)
        assert await state(client, jid) is JobState.WAITING
        await client.cancel(jid)
        rig.state.quiet_here = False
        rig.state.hear("x")
        rig.state.hear(None)
        found = await ended(client, jid)
        assert (found.state, found.processed) == (JobState.CANCELLED, 4)
        job.fails_at = {2, 3}
        other = await client.enqueue("Import", [9], retry=0)
        failed = await ended(client, other)
    assert (failed.state, failed.processed, failed.ended_at) == (JobState.FAILED, 1, None)


async def test_entry_of_another_job_under_the_same_number_is_not_taken_for_this_one(
    redis: Redis, client: Client
) -> None:
    """The worker was killed, and its next process has taken as many jobs."""
    jid = await client.enqueue("Import", [9])
    await redis.hset(KEYS.progress(jid), mapping={"processed": 4, "worker": "a", "number": 7})
    other = b'0 default\n{"class":"Import","args":[9],"jid":"other"}'
    await redis.hset(KEYS.working(WorkerId("a")), "7", other)
    assert await state(client, jid) is JobState.WAITING
    await redis.hset(KEYS.working(WorkerId("a")), "7", other.replace(b"other", jid.encode()))
    assert await state(client, jid) is JobState.RUNNING


async def test_errors_are_read_in_pages(redis: Redis, client: Client, job: type[Import]) -> None:
    app = App()
    app.job(job)
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Import", 100)
        await ended(client, jid)
    read: list[int] = []
    after: int | None = 0
    while after is not None:
        page = await client.progress(jid, errors_after=after, errors=4)
        assert page is not None
        assert len(page.errors) <= 4
        read += page.errors
        after = page.next_errors
    assert read == list(range(10, 101, 10))


async def test_plain_client_and_application_tell_the_same(
    redis: Redis, redis_server: RedisServer, client: Client, job: type[Import]
) -> None:
    app = App(redis_server.url)
    app.job(job)
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Import", 100)
        found = await ended(client, jid)
    with SyncClient(redis_server.url) as plain:
        assert await asyncio.to_thread(plain.progress, jid) == found
        assert await asyncio.to_thread(plain.failed_rows, jid) == await client.failed_rows(jid)
    assert await app.progress(jid) == await asyncio.to_thread(app.progress_sync, jid) == found
    await app.close()


async def test_kit_tells_of_a_job_what_redis_tells(redis: Redis, client: Client, job: type[Import]) -> None:
    app = App()
    app.job(job)
    async with rigged(redis, app) as rig:
        real = await ended(client, await rig.enqueue("Import", 100))
    with capture(app) as jobs:
        jid = await jobs.client.enqueue("Import", [100])
        assert await app.progress(jid) is None
        await jobs.run()
        kit = await app.progress(jid)
        rows = await jobs.client.failed_rows(jid)
    assert kit is not None
    for name in ("state", "processed", "failed", "total", "errors", "next_errors", "done"):
        assert getattr(kit, name) == getattr(real, name), name
    assert rows == await client.failed_rows(real.jid)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_run_skips_the_ids_that_the_one_before_it_did_of_two_kinds(
    redis: Redis, client: Client, kind: str
) -> None:
    """Its own error comes in the middle of an item that does several ids: those that are done are not done again."""
    app = App()
    did: list[tuple[str, Any]] = []
    errors = [ValueError("in the middle")]

    class Delete(IteratingJob):
        def build_enumerator(self, *, cursor: int | None) -> number_range:
            return number_range(0, 10, cursor)

    class Plain(Delete):
        def each_iteration(self, page: int) -> None:
            for user in self.progress.not_done_sync("user", range(page * 10, page * 10 + 10)):
                did.append(("user", user))
                self.progress.done("user", user)
                if user == 47 and errors:
                    raise errors.pop()
            if not self.progress.is_done_sync("team", f"team-{page // 2}"):
                did.append(("team", page // 2))
                self.progress.done_now_sync("team", f"team-{page // 2}")

    class Async(Delete):
        async def each_iteration(self, page: int) -> None:
            for user in await self.progress.not_done("user", range(page * 10, page * 10 + 10)):
                did.append(("user", user))
                self.progress.done("user", user)
                if user == 47 and errors:
                    raise errors.pop()
            if not await self.progress.is_done("team", f"team-{page // 2}"):
                did.append(("team", page // 2))
                await self.progress.done_now("team", f"team-{page // 2}")

    app.job(name="Delete")(Async if kind == "async" else Plain)
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Delete")

        async def failed() -> list[bytes]:
            return cast("list[bytes]", await redis.zrange(KEYS.retry, 0, -1))

        (raw,) = await wait_until(failed, 10)
        await redis.zrem(KEYS.retry, raw)
        await redis.lpush(KEYS.queue("default"), raw)
        found = await ended(client, jid)
    assert found.done == {"user": 100, "team": 5}
    assert sorted(did, key=str) == sorted(
        [*(("user", user) for user in range(100)), *(("team", team) for team in range(5))], key=str
    )

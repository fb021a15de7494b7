"""What a client promises, kept by both on a real Redis and by both of the testing kit in memory."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from jobworker import App, ArgumentsNotJSON, Client, ConfigurationError, ControlAnswer, Standing, SyncClient
from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload
from jobworker.testing import FakeClock, Memory, MemoryClient, MemorySyncClient
from tests.integration.worker.conftest import KEYS
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


class Producer:
    """A client called alike whether it is async or plain, and what has arrived where its jobs go."""

    def __init__(self, client: Any, redis: Redis | None, memory: Memory) -> None:
        self._client, self._redis, self._memory = client, redis, memory

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        called = getattr(self._client, method)
        if inspect.iscoroutinefunction(called):
            return await called(*args, **options)
        return await asyncio.to_thread(called, *args, **options)

    async def waiting(self) -> list[Payload]:
        """What is in the queues, the oldest of each first, by the name of the queue."""
        if self._redis is None:
            return sorted((job.payload for job in self._memory.waiting), key=lambda job: job.queue)
        found: list[Payload] = []
        for queue in sorted(cast("set[bytes]", await self._redis.smembers(KEYS.queues))):
            raw = cast("list[bytes]", await self._redis.lrange(KEYS.queue(queue.decode()), 0, -1))
            found += map(payloads.parse, reversed(raw))
        return found

    async def park(self) -> None:
        """What a worker does that takes the one job that waits, and finds that it shall rest."""
        if self._redis is None:
            taken = self._memory.take(lambda _: True)
            assert taken is not None
            self._memory.park(taken)
            return
        (job,) = await self.waiting()
        raw = await cast("Any", self._redis).rpop(KEYS.queue(job.queue))
        await self._redis.hset(KEYS.parked, job.jid, b"5 %s\n%s" % (job.queue.encode(), raw))

    async def scheduled(self) -> list[tuple[float, Payload]]:
        """What is due later, the next one first."""
        if self._redis is None:
            return [(job.at.timestamp(), job.payload) for job in self._memory.scheduled if job.at is not None]
        raw = cast("list[tuple[bytes, float]]", await self._redis.zrange(KEYS.schedule, 0, -1, withscores=True))
        return [(score, payloads.parse(member)) for member, score in raw]


@pytest.fixture(params=["async on redis", "plain on redis", "async in memory", "plain in memory"])
async def client(request: pytest.FixtureRequest, redis: Redis, redis_server: RedisServer) -> AsyncIterator[Producer]:
    memory = Memory(FakeClock())
    kinds: dict[str, Callable[[], Any]] = {
        "async on redis": lambda: Client(redis_server.url),
        "plain on redis": lambda: SyncClient(redis_server.url),
        "async in memory": lambda: MemoryClient(memory),
        "plain in memory": lambda: MemorySyncClient(memory),
    }
    made = kinds[request.param]()
    producer = Producer(made, redis if "redis" in request.param else None, memory)
    yield producer
    await producer("close")


async def test_job_arrives_as_it_was_enqueued(client: Producer) -> None:
    args = [1, 1.5, "ü", None, True, [1, {"a": []}], 2**64 - 1]
    jid = await client("enqueue", "Mail", args, queue="mails", retry=3, tags=["x"], dead=False)
    (job,) = await client.waiting()
    assert (job.job_class, job.args, job.queue, job.retry, job.jid) == ("Mail", args, "mails", 3, jid)
    assert (job.extra["tags"], job.extra["dead"], len(jid)) == (["x"], False, 24)
    assert isinstance(job.extra["created_at"], float)
    assert job.extra["created_at"] == job.enqueued_at
    assert abs(job.extra["created_at"] - time.time()) < 3600


async def test_what_is_left_out_has_the_defaults(client: Producer) -> None:
    await client("enqueue", "Mail")
    (job,) = await client.waiting()
    assert (job.args, job.queue, job.retry) == ([], "default", True)
    assert set(job.extra) == {"created_at", "enqueued_at"}


async def test_jobs_keep_their_order(client: Producer) -> None:
    jids = [await client("enqueue", "Mail", [number]) for number in range(5)]
    jids += await client("enqueue_many", "Mail", ([number] for number in range(5, 2_500)))
    jobs = await client.waiting()
    assert [job.args for job in jobs] == [[number] for number in range(2_500)]
    assert [job.jid for job in jobs] == jids
    assert len(set(jids)) == 2_500


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        pytest.param(60, 60, id="seconds"),
        pytest.param(timedelta(minutes=2), 120, id="timedelta"),
        pytest.param(-5, -5, id="in the past"),
    ],
)
async def test_scheduled_job_waits_for_its_time(client: Producer, when: Any, seconds: float) -> None:
    jid = await client("schedule", when, "Mail", [7], queue="mails", retry=False, tags=["x"])
    assert await client.waiting() == []
    ((due, job),) = await client.scheduled()
    assert (job.jid, job.args, job.queue, job.retry, job.extra["tags"]) == (jid, [7], "mails", False, ["x"])
    assert job.enqueued_at is None
    assert due == pytest.approx(job.extra["created_at"] + seconds, abs=0.001)


@pytest.mark.parametrize("when", ["1h", None, True, float("nan"), float("inf")])
async def test_what_is_no_time_is_refused(client: Producer, when: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="a job cannot be scheduled for"):
        await client("schedule", when, "Mail")
    assert await client.scheduled() == []


async def test_time_with_a_zone_is_that_time(client: Producer) -> None:
    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    await client("schedule", at, "Mail")
    ((due, _),) = await client.scheduled()
    assert due == at.timestamp()
    with pytest.raises(ValueError, match="no time zone"):
        await client("schedule", datetime(2030, 1, 1), "Mail")  # noqa: DTZ001  # that is what is refused
    assert len(await client.scheduled()) == 1


def named(to: str) -> None: ...


@pytest.mark.parametrize("value", [(1,), {1: 2}, float("nan"), 2**64, datetime(2030, 1, 1, tzinfo=UTC), "\ud800"])
async def test_argument_that_json_would_change_is_refused_by_name_and_nothing_arrives(
    client: Producer, value: object
) -> None:
    signature = inspect.signature(named)
    with pytest.raises(ArgumentsNotJSON, match="Mail: argument to"):
        await client("enqueue", "Mail", [value], signature=signature)
    with pytest.raises(ArgumentsNotJSON, match="Mail: argument to"):
        await client("schedule", 5, "Mail", [value], signature=signature)
    with pytest.raises(ArgumentsNotJSON, match="Mail: argument to"):
        await client("enqueue_many", "Mail", [["a"], [value]], signature=signature)
    assert (await client.waiting(), await client.scheduled()) == ([], [])


async def test_chunks_in_front_of_a_bad_argument_have_arrived(client: Producer) -> None:
    args: list[list[Any]] = [[number] for number in range(1_500)]
    args[1_200] = [(1,)]
    with pytest.raises(ArgumentsNotJSON, match="argument number 1 is a tuple"):
        await client("enqueue_many", "Mail", args)
    assert len(await client.waiting()) == 1_000


async def test_fields_that_the_client_sets_itself_are_refused(client: Producer) -> None:
    with pytest.raises(TypeError, match="jid"):
        await client("enqueue", "Mail", [], jid="mine")
    assert await client.waiting() == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, r"enqueued by its name.*'' is none"),
        (None, {}, r"enqueued by its name.*None is none"),
        ("Mail", {"queue": ""}, "Mail: '' is no queue name: it needs a letter"),
        ("Mail", {"queue": "my queue"}, "'my queue' is no queue name"),
        ("Mail", {"queue": "mails,5"}, "'mails,5' is no queue name"),
        ("Mail", {"queue": "mail_*"}, "'mail_.' is no queue name"),
        ("Mail", {"queue": "!mails"}, "'!mails' is no queue name"),
        ("Mail", {"queue": 7}, "the queue 7 must be a name, as in"),
        ("Mail", {"queue": ["mails"]}, "must be a name, as in"),
        ("Mail", {"retry_queue": "my queue"}, "'my queue' is no queue name"),
        ("Mail", {"retry": "x"}, "Mail: retry is 'x'; it is True, False or a number of tries"),
        ("Mail", {"retry": -5}, "retry is -5; it is"),
        ("Mail", {"retry": [5]}, r"retry is \[5\]; it is"),
        ("Mail", {"retry_for": 0}, "retry_for is 0; it is a second to 30 years"),
        ("Mail", {"retry_for": "1h"}, "retry_for is '1h'; it is a number of seconds"),
        ("Mail", {"dead": "no"}, "dead is 'no'; it is True or False"),
        ("Mail", {"backtrace": -1}, "backtrace is -1; it is"),
        ("Mail", {"jw_poison_after": -1}, "jw_poison_after is -1; it is"),
        ("Mail", {"poison_after": 3}, "as a field of a payload it is jw_poison_after"),
        ("Mail", {"timeout": 3}, r"timeout does not travel with a job.*@app\.job\(timeout=…\)"),
        ("Mail", {"timout": 3}, "there is no option timout; did you mean timeout?"),
        ("Mail", {"retry_fro": 3}, "there is no option retry_fro; did you mean retry_for?"),
        ("Mail", {"retries": 3}, "there is no option retries: did you mean retry?"),
        ("Mail", {"uniq": 5}, "there is no option uniq: no job is made unique here"),
        ("Mail", {"at": 5.0}, "there is no option at: schedule"),
    ],
)
@pytest.mark.parametrize("method", ["enqueue", "enqueue_many", "schedule"])
async def test_options_that_no_worker_could_use_are_refused(
    client: Producer, method: str, name: Any, options: dict[str, Any], message: str
) -> None:
    args: tuple[Any, ...] = {"enqueue": (name, []), "enqueue_many": (name, [[]]), "schedule": (60, name)}[method]
    with pytest.raises(ConfigurationError, match=message):
        await client(method, *args, **options)
    assert (await client.waiting(), await client.scheduled()) == ([], [])


async def test_fields_of_ones_own_and_of_sidekiqs_other_editions_travel(client: Producer) -> None:
    fields = {"tenant": "acme", "trace": "00-1", "bid": "b", "unique_for": 5, "expires_in": 9, "date": "26", "data": 1}
    await client("enqueue", "Mail", [], backtrace=5, retry_for=60, retry_queue="slow", jw_poison_after=0, **fields)
    (job,) = await client.waiting()
    assert {name: job.extra[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("cancel", ControlAnswer("", Standing.WAITING)),
        ("pause", ControlAnswer("", Standing.WAITING)),
        ("resume", ControlAnswer("", Standing.WAITING, changed=False)),
        ("pause pause", ControlAnswer("", Standing.WAITING, changed=False)),
        ("pause resume", ControlAnswer("", Standing.WAITING)),
        ("cancel cancel", ControlAnswer("", Standing.CANCELLED, changed=False)),
        ("cancel pause", ControlAnswer("", Standing.CANCELLED, accepted=False, changed=False)),
        ("pause cancel resume", ControlAnswer("", Standing.CANCELLED, accepted=False, changed=False)),
        ("pause park pause", ControlAnswer("", Standing.PAUSED, changed=False)),
        ("pause park resume", ControlAnswer("", Standing.PAUSED)),
        ("pause park cancel", ControlAnswer("", Standing.PAUSED)),
        ("pause park resume resume", ControlAnswer("", Standing.WAITING, changed=False)),
        ("pause park cancel resume", ControlAnswer("", Standing.CANCELLED, accepted=False, changed=False)),
    ],
)
async def test_job_that_does_not_run_is_cancelled_paused_and_resumed(
    client: Producer, asked: str, answer: ControlAnswer
) -> None:
    jid = await client("enqueue", "Import", queue="imports")
    for step in asked.split()[:-1]:
        await (client.park() if step == "park" else client(step, jid))
    assert await client(asked.rsplit(maxsplit=1)[-1], jid) == replace(answer, jid=jid)


async def test_resumed_job_is_the_next_one_and_was_enqueued_when_it_was_resumed(client: Producer) -> None:
    jid = await client("enqueue", "Import")
    (before,) = await client.waiting()
    await client("pause", jid)
    await client.park()
    assert await client.waiting() == []
    await client("enqueue", "Import")
    await client("resume", jid)
    first, _ = await client.waiting()
    assert (first.jid, first.extra["created_at"]) == (jid, before.extra["created_at"])
    assert (first.enqueued_at or 0) >= (before.enqueued_at or 0)


@pytest.mark.parametrize(
    ("real", "kit"), [(Client, MemoryClient), (SyncClient, MemorySyncClient)], ids=["async", "plain"]
)
def test_clients_of_the_kit_have_all_methods_of_the_real_ones(real: type, kit: type) -> None:
    def methods(client: type) -> dict[str, list[str]]:
        found = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in found if not name.startswith("_")}

    assert methods(kit) == methods(real)


def test_application_hands_out_the_clients_it_is_given() -> None:
    app, memory = App("redis://127.0.0.1:1/0"), Memory(FakeClock())
    ours = cast("Client", MemoryClient(memory)), cast("SyncClient", MemorySyncClient(memory))
    with app.enqueueing_by(*ours):
        assert (app.client, app.sync_client) == ours
    assert app.sync_client is not ours[1]
    app.close_sync()

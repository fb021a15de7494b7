"""Code around pushes, kept alike by both clients on a real Redis and by both of the testing kit in memory."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import pytest
from click import ClickException
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from jobworker import (
    NOT_PUSHED,
    App,
    ArgumentsNotJSON,
    Client,
    ConfigurationError,
    OutgoingJob,
    PushBufferFull,
    SyncClient,
)
from jobworker.cli.enqueue import push as by_hand
from jobworker.client.middleware import ClientMiddleware, departure
from jobworker.client.push import Kind
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload
from jobworker.testing import FakeClock, Memory, MemoryClient, MemorySyncClient
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

KEYS = Keys()
NOBODY = "redis://127.0.0.1:1/0"


class Producer:
    """A client called alike whether it is async or plain; what stands in ``chain`` surrounds its pushes."""

    def __init__(self, client: Any, redis: Redis | None, memory: Memory, chain: list[ClientMiddleware]) -> None:
        self._client, self._redis, self._memory, self.chain = client, redis, memory, chain

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        called = getattr(self._client, method)
        if inspect.iscoroutinefunction(called):
            return await called(*args, **options)
        return await asyncio.to_thread(called, *args, **options)

    async def arrived(self) -> list[Payload]:
        """What is in the queues, the oldest of each first, and behind that what is scheduled."""
        if self._redis is None:
            waiting = sorted((job.payload for job in self._memory.waiting), key=lambda job: job.queue)
            return waiting + [job.payload for job in self._memory.scheduled]
        raw: list[bytes] = []
        for queue in sorted(cast("set[bytes]", await self._redis.smembers(KEYS.queues))):
            raw += reversed(cast("list[bytes]", await self._redis.lrange(KEYS.queue(queue.decode()), 0, -1)))
        raw += cast("list[bytes]", await self._redis.zrange(KEYS.schedule, 0, -1))
        return list(map(payloads.parse, raw))


@pytest.fixture(params=["async on redis", "plain on redis", "async and reliable", "async in memory", "plain in memory"])
async def client(request: pytest.FixtureRequest, redis: Redis, redis_server: RedisServer) -> AsyncIterator[Producer]:
    memory, chain = Memory(FakeClock()), cast("list[ClientMiddleware]", [])
    kinds: dict[str, Callable[[], Any]] = {
        "async on redis": lambda: Client(redis_server.url, middleware=chain),
        "plain on redis": lambda: SyncClient(redis_server.url, middleware=chain),
        "async and reliable": lambda: Client(redis_server.url, middleware=chain, reliable_push=True),
        "async in memory": lambda: MemoryClient(memory, middleware=chain),
        "plain in memory": lambda: MemorySyncClient(memory, middleware=chain),
    }
    made = kinds[request.param]()
    producer = Producer(made, None if "memory" in request.param else redis, memory, chain)
    yield producer
    await producer("close")


def stop(job: OutgoingJob) -> Iterator[None]:
    """Stops jobs whose first argument is 13."""
    if job.args[0] != 13:
        yield


def refuse(job: OutgoingJob) -> Iterator[None]:
    """Raises for jobs whose first argument is 13."""
    if job.args[0] == 13:
        raise LookupError("thirteen")
    yield


async def push(client: Producer, method: str, args: Sequence[Any], **options: Any) -> Any:
    """One job by each of the three ways; its jid."""
    match method:
        case "schedule":
            return await client("schedule", 60, "Mail", args, **options)
        case "enqueue_many":
            (jid,) = await client("enqueue_many", "Mail", [args], **options)
            return jid
        case _:
            return await client("enqueue", "Mail", args, **options)


WAYS = pytest.mark.parametrize("way", ["enqueue", "schedule", "enqueue_many"])


@WAYS
async def test_the_first_one_added_is_the_outermost_and_all_see_the_job(client: Producer, way: str) -> None:
    seen: list[Any] = []

    def outer(job: OutgoingJob) -> Iterator[None]:
        seen.append(("outer", job.job_class, job.args, job.queue, job.retry, job.fields, job.due is not None))
        yield
        seen.append(("outer done", job.jid, job.pushed))

    def inner(job: OutgoingJob) -> Iterator[None]:
        seen.append(("inner", job.pushed))
        yield
        seen.append(("inner done", job.pushed))

    client.chain += [outer, inner]
    jid = await push(client, way, [7], queue="mails", retry=3, tags=["x"])
    job = ("outer", "Mail", [7], "mails", 3, {"tags": ["x"]}, way == "schedule")
    assert seen == [job, ("inner", False), ("inner done", True), ("outer done", jid, True)]


@WAYS
async def test_what_it_changes_is_what_is_pushed(client: Producer, way: str) -> None:
    def change(job: OutgoingJob) -> Iterator[None]:
        job.args.append("more")
        job.queue, job.retry = "slow", 0
        job.fields["tenant"] = 42
        job.fields["tags"].append("y")
        yield

    client.chain.append(change)
    args = [7]
    jid = await push(client, way, args, queue="mails", retry=3, tags=["x"])
    again = await push(client, way, args, queue="mails", retry=3, tags=["x"])
    for job in await client.arrived():
        assert (job.args, job.queue, job.retry) == ([7, "more"], "slow", 0)
        assert (job.extra["tenant"], job.extra["tags"]) == (42, ["x", "y"])
        assert job.jid in {jid, again}
    assert len(await client.arrived()) == 2
    assert args == [7]


@WAYS
async def test_one_that_does_not_yield_stops_the_push_and_those_outside_see_it(client: Producer, way: str) -> None:
    outside: list[bool] = []

    def outer(job: OutgoingJob) -> Iterator[None]:
        yield
        outside.append(job.pushed)

    client.chain += [outer, stop]
    assert await push(client, way, [13]) == NOT_PUSHED
    assert await client.arrived() == []
    assert await push(client, way, [7])
    assert outside == [False, True]


@WAYS
async def test_one_that_raises_before_the_yield_fails_the_push(client: Producer, way: str) -> None:
    outside: list[str] = []

    def outer(_: OutgoingJob) -> Iterator[None]:
        try:
            yield
        except LookupError as error:
            outside.append(str(error))
            raise

    client.chain += [outer, refuse]
    with pytest.raises(LookupError, match="thirteen"):
        await push(client, way, [13])
    assert await client.arrived() == []
    assert outside == ["thirteen"]


@WAYS
async def test_what_it_leaves_is_checked_as_what_a_caller_passes(client: Producer, way: str) -> None:
    def spoil(job: OutgoingJob) -> Iterator[None]:
        job.args[0] = (1,)
        yield

    def misdirect(job: OutgoingJob) -> Iterator[None]:
        job.queue = cast("str", None)
        yield

    def overwrite(job: OutgoingJob) -> Iterator[None]:
        job.fields["jid"] = "mine"
        yield

    for middleware, error, words in (
        (spoil, ArgumentsNotJSON, "argument number 1 is a tuple"),
        (misdirect, ConfigurationError, "the queue None must be a name"),
        (overwrite, TypeError, "jid of a payload is set by the client"),
    ):
        client.chain[:] = [middleware]
        with pytest.raises(error, match=words):
            await push(client, way, [7])
    assert await client.arrived() == []


async def test_of_many_some_are_stopped_and_some_go_to_another_queue_in_their_order(client: Producer) -> None:
    def sort(job: OutgoingJob) -> Iterator[None]:
        if job.args[0] % 2:
            job.queue = "odd"
        yield

    client.chain += [stop, sort]
    jids = await client("enqueue_many", "Mail", ([number] for number in range(1_500)), queue="even")
    assert [number for number, jid in enumerate(jids) if jid == NOT_PUSHED] == [13]
    jobs = await client.arrived()
    assert [job.args[0] for job in jobs] == [
        *range(0, 1_500, 2), *(number for number in range(1, 1_500, 2) if number != 13)
    ]  # fmt: skip
    assert [job.jid for job in jobs] == [jids[job.args[0]] for job in jobs]


async def test_one_of_many_that_cannot_go_keeps_back_its_chunk_and_all_that_were_entered_hear_of_it(
    client: Producer,
) -> None:
    heard: list[int] = []

    def outer(job: OutgoingJob) -> Iterator[None]:
        try:
            yield
        except LookupError:
            heard.append(job.args[0])
            raise

    client.chain += [outer, refuse]
    with pytest.raises(LookupError, match="thirteen"):
        await client("enqueue_many", "Mail", [[number] for number in range(11, 20)])
    assert await client.arrived() == []
    assert sorted(heard) == [11, 12, 13]


async def test_one_that_takes_the_error_of_one_inside_lets_the_others_go(client: Producer) -> None:
    def takes(_: OutgoingJob) -> Iterator[None]:
        with suppress(LookupError):
            yield

    client.chain += [takes, refuse]
    jids = await client("enqueue_many", "Mail", [[12], [13], [14]])
    assert [bool(jid) for jid in jids] == [True, False, True]
    assert [job.args for job in await client.arrived()] == [[12], [14]]


async def test_one_that_yields_twice_is_told_and_the_job_is_pushed(client: Producer) -> None:
    def twice(_: OutgoingJob) -> Iterator[None]:
        yield
        yield

    client.chain.append(twice)
    with pytest.raises(ConfigurationError, match="twice yielded twice"):
        await push(client, "enqueue", [7])
    assert len(await client.arrived()) == 1


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("method", ["enqueue", "enqueue_many"])
async def test_what_redis_refuses_is_raised_at_the_yield(redis: Redis, method: str, *, taken: bool) -> None:
    kept: list[list[Any]] = []

    def keep(job: OutgoingJob) -> Iterator[None]:
        try:
            yield
        except RedisAway:
            kept.append(job.args)
            if not taken:
                raise

    async with Client(NOBODY, middleware=[keep]) as away:
        with SyncClient(NOBODY, middleware=[keep]) as plain:
            for client in (away, plain):
                producer = Producer(client, redis, Memory(FakeClock()), [])
                if taken:
                    assert await push(producer, method, [7]) == NOT_PUSHED
                else:
                    with pytest.raises(RedisAway):
                        await push(producer, method, [7])
    assert kept == [[7], [7]]


def test_full_buffer_tells_what_was_accepted_before_it() -> None:
    def by_number(job: OutgoingJob) -> Iterator[None]:
        job.queue = f"queue_{job.args[0] % 2}"
        yield

    steps = departure([by_number], Kind("Mail", "default", 0, {}), [[0], [1], [2]], 1.5)
    accepted = next(steps).jids
    assert next(steps).queue == "queue_1"
    with pytest.raises(PushBufferFull) as raised:
        steps.throw(PushBufferFull("full"))
    assert (list(raised.value.accepted), len(accepted)) == (accepted, 2)


def test_only_jobs_that_were_not_sent_hear_of_the_failure() -> None:
    heard: list[int] = []

    def hear(job: OutgoingJob) -> Iterator[None]:
        job.queue = f"queue_{job.args[0] % 2}"
        try:
            yield
        except RedisAway:
            heard.append(job.args[0])
            raise

    steps = departure([hear, stop], Kind("Mail", "default", 0, {}), [[0], [1], [2], [3], [13]], 1.5)
    next(steps)
    next(steps)
    with pytest.raises(RedisAway):
        steps.throw(RedisAway("gone"))
    assert heard == [1, 3]


async def test_many_that_do_not_fit_into_the_buffer_name_those_of_the_chunks_before() -> None:
    def nothing(_: OutgoingJob) -> Iterator[None]:
        yield

    async with Client(NOBODY, middleware=[nothing], reliable_push=1_500) as away:
        with pytest.raises(PushBufferFull) as raised:
            await away.enqueue_many("Mail", ([number] for number in range(2_500)))
        assert len(raised.value.accepted) == 1_000
        assert away._outbox is not None
        assert away._outbox.jobs == 1_000


async def test_application_surrounds_its_pushes_also_with_what_is_added_later(redis_server: RedisServer) -> None:
    app = App(redis_server.url)
    seen: list[str] = []

    @app.job
    def mail(user: int) -> None: ...

    async def push_all() -> None:
        await mail.enqueue(1)
        await mail.enqueue_many([(2,)])
        await asyncio.to_thread(mail.enqueue_sync, 3)
        await asyncio.to_thread(mail.schedule_sync, 60, 4)

    await push_all()

    @app.client_middleware
    def see(job: OutgoingJob) -> Iterator[None]:
        seen.append(f"{job.job_class} {job.args}")
        yield

    await push_all()
    await app.close()
    assert seen == ["mail [1]", "mail [2]", "mail [3]", "mail [4]"]


def test_command_line_says_that_a_middleware_stopped_the_push() -> None:
    app = App(NOBODY)

    @app.job
    def mail(user: int) -> None: ...

    app.client_middleware(stop)
    with pytest.raises(ClickException, match="a client middleware of the application stopped mail"):
        by_hand(app, NOBODY, "", "mail", [13], None, None)


async def test_what_is_no_plain_generator_function_is_refused() -> None:
    app = App()

    async def asynchronous(_: OutgoingJob) -> AsyncIterator[None]:
        yield

    for wrong in (lambda _: iter([None]), asynchronous):
        with pytest.raises(ConfigurationError, match="write a plain generator function"):
            app.client_middleware(cast("Any", wrong))
    assert app.around_pushes == []

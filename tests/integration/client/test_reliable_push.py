"""Pushing while Redis is away: a real Redis killed and started again, answers that are lost, a process that ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.exceptions import AuthenticationError, OutOfMemoryError, ResponseError

from jobworker import App, Client, ConfigurationError, PushBufferFull, SyncClient
from tests.cutting_proxy import CuttingProxy
from tests.redis_deployments import command
from tests.redis_server import RedisServer, free_port
from tests.waiting import wait_until, wait_until_sync

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "own", append_only=True) as own:
        yield own


def queued(server: RedisServer) -> list[Any]:
    """First argument of each job on the queue, the oldest first."""
    return [orjson.loads(raw)["args"][0] for raw in reversed(command(server, "LRANGE", "queue:default", 0, -1))]


def scheduled(server: RedisServer) -> list[Any]:
    return [orjson.loads(raw)["args"][0] for raw in command(server, "ZRANGE", "schedule", 0, -1)]


async def test_jobs_of_an_outage_reach_redis_in_their_order_without_another_push(server: RedisServer) -> None:
    async with Client(server.url, reliable_push=True) as client:
        await client.enqueue("Mail", [0])
        server.kill()
        for number in range(1, 20):
            await client.enqueue("Mail", [number])
        await client.enqueue_many("Mail", [[number] for number in range(20, 300)])
        await client.schedule(3600, "Mail", ["later"])
        server.start()
        await wait_until(lambda: scheduled(server) == ["later"], 20)
        assert queued(server) == list(range(300))
        await client.enqueue("Mail", [300])
        assert queued(server) == list(range(301))


def test_plain_code_waits_for_redis_as_well_and_pushes_behind_what_waits(server: RedisServer) -> None:
    with SyncClient(server.url, reliable_push=100) as client:
        server.kill()
        client.enqueue("Mail", [0])
        server.start()
        for number in range(1, 50):  # some of them while the thread sends
            client.enqueue("Mail", [number])
        wait_until_sync(lambda: len(queued(server)) == 50, 20)
    assert queued(server) == list(range(50))


async def test_push_whose_answer_was_lost_is_in_redis_once(server: RedisServer) -> None:
    async with CuttingProxy(server.port) as proxy, Client(proxy.url, reliable_push=True) as client:
        outbox = client._outbox
        assert outbox is not None
        for turn in range(5):
            proxy.lose = b"lost %d" % turn
            await client.enqueue("Mail", [f"lost {turn}"])
            await client.enqueue("Mail", [f"behind {turn}"])
            await wait_until(lambda: not outbox.jobs, 20)
        proxy.lose = b"lost many"
        await client.enqueue_many("Mail", [["lost many"]] * 3)
        await wait_until(lambda: not outbox.jobs, 20)
        proxy.lose = b"lost later"
        await client.schedule(3600, "Mail", ["lost later"])
        await wait_until(lambda: not outbox.jobs, 20)
        assert proxy.lost == 7
    in_pairs = [f"{kind} {turn}" for turn in range(5) for kind in ("lost", "behind")]
    assert queued(server) == [*in_pairs, "lost many", "lost many", "lost many"]
    assert scheduled(server) == ["lost later"]


async def test_push_that_arrives_after_it_was_asked_again_does_nothing(server: RedisServer) -> None:
    # Frozen, Redis has the push in its socket and answers nobody; thawed, it finds the first try and the second.
    async with Client(server.url, reliable_push=True) as client:
        await client.enqueue("Mail", [0])
        client._redis.connection_pool.connection_kwargs["socket_timeout"] = 0.2
        await client._redis.connection_pool.disconnect()
        await client.enqueue("Mail", [1])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await client.enqueue("Mail", [2])
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await client.enqueue("Mail", [3])
        await wait_until(lambda: queued(server)[-1] == 3, 20)
    assert queued(server) == [0, 1, 2, 3]


def test_jobs_of_many_threads_are_there_once_and_in_the_order_of_each_while_redis_is_killed_again_and_again(
    server: RedisServer,
) -> None:
    ended = threading.Event()
    accepted: list[list[int]] = [[] for _ in range(4)]

    def produce(thread: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                client.enqueue("Mail", [[thread, number]])
            except PushBufferFull:
                ended.wait(0.01)
            else:
                accepted[thread].append(number)

    with SyncClient(server.url, reliable_push=200) as client:
        threads = [threading.Thread(target=produce, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            counts = [len(numbers) for numbers in accepted]
            wait_until_sync(partial(all_grew, accepted, counts), 20, "a push by each thread")
            server.kill()
            server.start()
        ended.set()
        for thread in threads:
            thread.join(20)
        outbox = client._outbox
        assert outbox is not None
        wait_until_sync(lambda: not outbox.jobs, 30)
    there: list[list[int]] = [[] for _ in range(4)]
    for thread, number in queued(server):
        there[thread].append(number)
    assert there == accepted


def all_grew(lists: list[list[int]], counts: list[int]) -> bool:
    return all(len(numbers) > count for numbers, count in zip(lists, counts, strict=True))


def test_what_does_not_fit_is_refused_and_says_what_was_accepted(server: RedisServer) -> None:
    with SyncClient(server.url, reliable_push=1500) as client:
        server.kill()
        with pytest.raises(
            PushBufferFull, match=r"is away \(.*refused.*1000 jobs wait .* of 1500 .* 1000 more"
        ) as full:
            client.enqueue_many("Mail", [[number] for number in range(2000)])
        assert len(full.value.accepted) == 1000
        for number in range(1000, 1500):
            client.enqueue("Mail", [number])
        with pytest.raises(PushBufferFull):
            client.enqueue("Mail", [1500])
        server.start()
        wait_until_sync(lambda: len(queued(server)) == 1500, 20)
        client.enqueue("Mail", [1500])
    assert queued(server) == list(range(1501))


def test_what_redis_refuses_for_good_is_the_callers_to_hear(server: RedisServer) -> None:
    with SyncClient(server.url, reliable_push=True) as client:
        command(server, "SET", "queue:default", "of somebody else")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            client.enqueue("Mail", [1])
        command(server, "DEL", "queue:default")
        command(server, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(OutOfMemoryError):
            client.enqueue("Mail", [1])
        command(server, "CONFIG", "SET", "maxmemory", "0")
        client.enqueue("Mail", [2])
    assert queued(server) == [2]
    command(server, "CONFIG", "SET", "requirepass", "secret")
    with SyncClient(server.url, reliable_push=True) as client, pytest.raises(AuthenticationError):
        client.enqueue("Mail", [1])


def test_redis_that_is_a_replica_for_a_while_is_waited_for(server: RedisServer) -> None:
    with SyncClient(server.url, reliable_push=True) as client:
        client.enqueue("Mail", [1])
        command(server, "REPLICAOF", "127.0.0.1", free_port())  # of nobody: it keeps what it has, and takes no writes
        client.enqueue("Mail", [2])
        client.schedule(3600, "Mail", ["later"])
        assert queued(server) == [1]
        command(server, "REPLICAOF", "NO", "ONE")
        wait_until_sync(lambda: scheduled(server) == ["later"], 20)
        assert queued(server) == [1, 2]


async def test_closing_tells_the_jids_that_never_reached_redis(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(server.url, reliable_push=True)

    @app.job
    def mail(number: int) -> None: ...

    server.kill()
    jids = [await mail.enqueue(1), await asyncio.to_thread(mail.enqueue_sync, 2)]
    began = time.monotonic()
    await app.close()
    assert time.monotonic() - began < 30  # bounded; a second on a machine with nothing else to do
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(told) == 1
    assert "2 jobs that were accepted are lost" in told[0]
    assert all(jid in told[0] for jid in jids)


PRODUCER = """
import os, sys
from jobworker import SyncClient

client = SyncClient(sys.argv[1], reliable_push=True)
print(client.enqueue("Mail", ["first"]), flush=True)
sys.stdin.readline()
print(client.enqueue("Mail", ["second"]), flush=True)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        sys.stdin.close()
        sys.exit()  # a child has nothing to send, and nothing to tell
    os.wait()
print("ends", flush=True)
sys.stdin.readline()
"""


def test_end_of_a_process_tells_what_waits_and_a_forked_child_does_not(server: RedisServer) -> None:
    producer = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, server.url, "fork"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert producer.stdin is not None
    assert producer.stdout is not None
    assert producer.stdout.readline().strip()
    server.kill()
    print(file=producer.stdin, flush=True)
    jid = producer.stdout.readline().strip()
    _, said = producer.communicate("\n", timeout=40)
    assert said.count("1 jobs that were accepted are lost") == 1, said
    assert jid in said


def test_end_of_a_process_waits_a_moment_for_a_redis_that_comes_back(server: RedisServer) -> None:
    producer = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, server.url, "no"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert producer.stdin is not None
    assert producer.stdout is not None
    assert producer.stdout.readline().strip()
    server.kill()
    print(file=producer.stdin, flush=True)
    assert producer.stdout.readline().strip()
    server.start()
    _, said = producer.communicate("\n", timeout=40)
    assert "are lost" not in said
    assert queued(server) == ["first", "second"]


async def test_connection_is_no_address_to_wait_for(server: RedisServer) -> None:
    async with Client(server.url) as plain:
        with pytest.raises(ConfigurationError, match="give the client the address of Redis"):
            Client(plain._redis, reliable_push=True)
    with pytest.raises(ConfigurationError, match="reliable_push is -1"):
        SyncClient(server.url, reliable_push=-1)

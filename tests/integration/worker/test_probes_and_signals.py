"""What a kubelet and a person at a terminal can ask of a running worker."""

from __future__ import annotations

import asyncio
import signal
import socket
import urllib.error
import urllib.request

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker.conftest import KEYS, StartWorker, Traces
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


async def probe(port: int, path: str) -> int:
    """The status code; 0 while nobody listens."""

    def ask() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code
        except OSError:
            return 0

    return await asyncio.to_thread(ask)


async def test_worker_is_ready_once_registered_and_stays_so_while_quiet_and_not_when_taken_for_dead(
    redis: Redis, fleet: FleetScripts, start_worker: StartWorker
) -> None:
    port = free_port()
    worker = start_worker("a", "--health-port", str(port))

    async def status(path: str, expected: int) -> bool:
        return await probe(port, path) == expected

    await wait_until(lambda: status("/readyz", 200), 15)
    assert await status("/livez", 200)
    await fleet.quiet(worker.identity, "operator: test")
    await wait_until(lambda: "quiet: taking no more jobs" in worker.log, 2)
    assert await status("/readyz", 200)
    await redis.client_pause(7_000)
    await wait_until(lambda: status("/readyz", 503), 7)
    assert await status("/livez", 200)
    await redis.client_unpause()
    await wait_until(lambda: status("/readyz", 200), 5)


async def test_port_that_is_taken_is_told_and_leaves_nothing_behind(redis: Redis, start_worker: StartWorker) -> None:
    port = free_port()
    first = start_worker("a", "--health-port", str(port))
    await first.registered(redis)
    second = start_worker("b", "--health-port", str(port))
    assert await second.exit_code() == 1
    assert f"health port {port} cannot be used" in second.log
    assert "Traceback" not in second.log
    assert [key for key in await redis.keys("*") if b"worker:b" in key] == []


async def test_stacks_of_threads_and_tasks_are_shown_with_their_jobs_and_work_goes_on(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await client.enqueue("gated", ["x"])
    await client.enqueue("AsyncItems", [5, 2])
    await traces.until_started("x", "held")
    worker.signal(signal.SIGTTIN)
    await wait_until(lambda: "in wait_for_gate" in worker.log and "class=AsyncItems" in worker.log, 5)
    await traces.open_gate("x")
    await traces.open_gate("held")

    async def done() -> bool:
        return int(await redis.get(KEYS.stat("processed")) or 0) == 2

    await wait_until(done, 5)


async def test_second_sigterm_does_not_wait_for_the_grace(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a", "--shutdown-seconds", "60")
    await client.enqueue("gated", ["x"])
    await traces.until_started("x")
    worker.signal(signal.SIGTERM)
    await wait_until(lambda: "stopping: no more jobs" in worker.log, 5)

    async def told() -> bool:
        return bool(await redis.hget(KEYS.record("a"), "stopping") == b"1")

    await wait_until(told, 0.8, "a beat at once that says so")
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code(5) == 3
    assert await redis.llen(KEYS.queue("default")) == 1


async def test_job_killed_at_the_end_of_its_grace_is_not_blamed(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a", "--shutdown-seconds", "60")
    await client.enqueue("gated", ["x"])
    await traces.until_started("x")
    worker.signal(signal.SIGTERM)

    async def told() -> bool:
        return bool(await redis.hget(KEYS.record("a"), "stopping") == b"1")

    await wait_until(told, 5)
    worker.signal(signal.SIGKILL)
    await worker.exit_code()
    again = start_worker("a", "-q", "other")
    await wait_until(lambda: "ended without goodbye" in again.log, 10)
    (raw,) = await redis.lrange(KEYS.queue("default"), 0, -1)
    assert b"jw_deaths" not in raw

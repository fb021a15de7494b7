"""Without an operator: workers find their dead themselves, also when the one that looks is the one that died."""

from __future__ import annotations

import signal
import time

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.keys import Keys
from tests.integration.worker.conftest import StartWorker, Traces, WorkerProcess
from tests.waiting import wait_until

KEYS = Keys()
PROMISED_SECONDS = 15
JOBS = [f"job {n}" for n in range(8)]


async def leader(redis: Redis) -> str:
    async def name() -> str:
        raw = await redis.get(KEYS.scheduler)
        return "" if raw is None else str(raw, "utf-8")  # type: ignore[arg-type]  # bytes: the client decodes nothing

    return await wait_until(name, 20, "a worker that leads")


async def pair(redis: Redis, start_worker: StartWorker) -> tuple[WorkerProcess, WorkerProcess]:
    """The worker that leads, and one that follows."""
    first = start_worker("a", "-c", "8")
    await first.registered(redis)
    assert await leader(redis) == "a"
    second = start_worker("b", "-c", "8")
    await second.registered(redis)
    return first, second


@pytest.mark.parametrize("killed", ["leader", "follower"])
async def test_eight_jobs_of_a_killed_worker_run_again_within_the_promised_time(
    redis: Redis,
    client: Client,
    traces: Traces,
    start_worker: StartWorker,
    capsys: pytest.CaptureFixture[str],
    killed: str,
) -> None:
    first, second = await pair(redis, start_worker)
    victim, other = (first, second) if killed == "leader" else (second, first)
    other.signal(signal.SIGTSTP)  # takes no jobs, but looks after the others all the same
    await wait_until(lambda: "signal: quiet" in other.log, 10)
    await client.enqueue_many("gated", [(name,) for name in JOBS])
    await traces.until_started(*JOBS)
    assert (await victim.activity(redis)).held == len(JOBS)
    heir = start_worker("c", "-c", "8")
    await heir.registered(redis)
    victim.signal(signal.SIGKILL)
    began = time.monotonic()
    await victim.exit_code()
    await traces.until_started(*JOBS, times=2, seconds=60)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n8 jobs of the {killed} run again {seconds:.1f} s after its SIGKILL")  # noqa: T201  # a figure for the reader
    assert seconds <= PROMISED_SECONDS

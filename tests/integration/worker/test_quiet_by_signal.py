"""A worker that SIGTSTP made quiet says so wherever a person looks, and nobody is told that he lifted it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker import pods
from tests.integration.worker.conftest import KEYS, StartWorker, WorkerProcess
from tests.integration.worker.inspected_redis import Jobworker, described
from tests.integration.worker.pods import StartPod
from tests.waiting import wait_until

pytestmark = pytest.mark.redis
start_pod = pods.start_pod  # a fixture

SAID = "SIGTSTP, until it ends"


async def told(jobworker: Jobworker) -> Any:
    """Why the only worker is quiet, as the command line tells it."""
    [worker] = described(await asyncio.to_thread(jobworker, "workers", "--json"))["workers"]
    return worker["quiet"]


async def until_told(jobworker: Jobworker, reason: str, worker: WorkerProcess) -> None:
    async def is_told() -> bool:
        return bool(await told(jobworker) == reason)

    await wait_until(is_told, 20, f"{reason!r}: {worker.log}")


async def test_worker_and_queue_are_shown_as_quiet_and_unquiet_is_refused(
    redis: Redis, client: Client, jobworker: Jobworker, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    assert await told(jobworker) is None
    worker.signal(signal.SIGTSTP)
    await until_told(jobworker, SAID, worker)
    await client.enqueue("count_async", [1])
    for command in (["workers"], ["top", "--once"]):
        assert f"quiet: {SAID}" in (await asyncio.to_thread(jobworker, *command)).stdout
    for command in (["queues"], ["top", "--once"]):
        assert "its worker is quiet or stops" in (await asyncio.to_thread(jobworker, *command)).stdout
    refused = await asyncio.to_thread(jobworker, "workers", "unquiet", "a", code=1)
    assert "made quiet by SIGTSTP, which lasts until its process ends" in refused.stderr
    # No fact: the container's next process takes jobs, and what an operator reads says nothing of it.
    assert await redis.exists(KEYS.quiet("a")) == 0
    assert (await worker.activity(redis)).quiet is None


async def test_fact_that_is_lifted_leaves_the_signal_and_that_is_said(
    redis: Redis, fleet: FleetScripts, jobworker: Jobworker, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    worker.signal(signal.SIGTSTP)
    await fleet.quiet(worker.identity, "by hand: me")
    await until_told(jobworker, f"by hand: me; {SAID}", worker)
    refused = await asyncio.to_thread(jobworker, "workers", "unquiet", "a", code=1)
    assert "'by hand: me' was taken back, but a was made quiet by SIGTSTP" in refused.stderr
    assert await redis.exists(KEYS.quiet("a")) == 0


async def test_next_process_of_the_same_worker_is_not_quiet(
    redis: Redis, jobworker: Jobworker, start_worker: StartWorker
) -> None:
    first = start_worker("a")
    await first.registered(redis)
    first.signal(signal.SIGTSTP)
    await until_told(jobworker, SAID, first)
    first.signal(signal.SIGKILL)
    await first.exit_code()
    second = start_worker("a")
    await wait_until(lambda: "registered" in second.log, 15, second.log)
    assert await told(jobworker) is None


async def test_pod_tells_how_many_of_its_processes_are_quiet(
    redis: Redis, jobworker: Jobworker, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    await pod.registered(redis)

    await wait_until(lambda: pod.log.count("ready: ") == 2, 30, pod.log)
    line = next(line for line in pod.log.splitlines() if "process started child=2" in line)
    os.kill(int(line.rsplit("pid=", 1)[1]), signal.SIGTSTP)  # as a process of its own does when Sidekiq's API asks it
    await until_told(jobworker, "SIGTSTP to 1 of 2 processes, until it ends", pod)
    pod.signal(signal.SIGTSTP)
    await until_told(jobworker, SAID, pod)

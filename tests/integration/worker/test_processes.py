"""Several processes in one pod: one identity, one health, signals and quiet for all, memory for each."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker import pods
from tests.integration.worker.conftest import KEYS, Traces
from tests.integration.worker.pods import StartPod, children_of, is_running, spread
from tests.waiting import wait_until

pytestmark = pytest.mark.redis
start_pod = pods.start_pod  # a fixture


async def test_one_identity_stands_for_all_processes_and_a_signal_ends_all(
    redis: Redis, client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "2")
    pids = await spread(client, traces, "w", "x", "y", "z")
    assert len(set(pids.values())) == 2
    children = children_of(pod)
    assert len(children) == 3
    activity = await pod.activity(redis)
    assert (activity.held, activity.concurrency) == (4, 4)
    assert await redis.smembers(KEYS.workers) == {b"a"}

    async def all_are_counted() -> bool:
        return (await pod.activity(redis)).running == 4

    await wait_until(all_are_counted, 15)

    async def sidekiq_sees_each_with_its_jobs() -> bool:
        shown = cast("set[bytes]", await redis.smembers(KEYS.processes))
        busy = [await redis.hget(KEYS.process(identity.decode()), "busy") for identity in shown]
        return busy == [b"2", b"2"]

    await wait_until(sidekiq_sees_each_with_its_jobs, 15)
    pod.signal(signal.SIGTERM)
    for name in pids:
        await traces.open_gate(name)
    assert await pod.exit_code(30) == 0, pod.log
    assert set((await traces("done")).values()) == {1}
    assert await redis.exists(KEYS.record("a"), KEYS.working("a"), KEYS.alive("a")) == 0
    assert await redis.smembers(KEYS.processes) == set()
    assert not [pid for pid in children if is_running(pid)]


async def test_jobs_that_are_cut_go_back_and_the_exit_code_says_so(
    redis: Redis, client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1", "--shutdown-seconds", "0.2")
    await spread(client, traces, "x", "y")
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 3, pod.log
    assert await redis.llen(KEYS.queue("default")) == 2
    assert await redis.exists(KEYS.record("a"), KEYS.working("a")) == 0


async def test_quiet_reaches_all_processes_and_the_pod_is_drained_when_all_are(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    await spread(client, traces, "x", "y")
    epoch = (await pod.activity(redis)).epoch
    assert await fleet.quiet(pod.identity, "operator: test") == 2
    await wait_until(lambda: pod.log.count("quiet: taking no more jobs") == 3, 15, pod.log)
    await client.enqueue("gated", ["z"])

    async def answer() -> str:
        return (await fleet.confirm_drained(pod.identity, "operator: test", epoch)).value

    async def is_held_by_one() -> bool:
        return (await pod.activity(redis)).held == 1

    await traces.open_gate("x")
    await wait_until(is_held_by_one, 15)
    assert await answer() == "HELD"
    async with redis.pubsub() as events:
        await events.subscribe(KEYS.events)
        await traces.open_gate("y")

        async def drained() -> bool:
            message = await events.get_message(ignore_subscribe_messages=True)
            return message is not None and message["data"] == b"drained a"

        await wait_until(drained, 15)
    assert await answer() == "DRAINED"
    assert "z" not in await traces("started")
    await fleet.unquiet(pod.identity)
    await traces.until_started("z", seconds=15)


async def test_signals_for_quiet_and_for_stacks_mean_all_processes(
    redis: Redis, client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    await spread(client, traces, "x", "y")
    pod.signal(signal.SIGTTIN)
    # Of each a line that is written at once; stacks come in pieces, and two processes may write at the same time.
    await wait_until(lambda: "task is at child=1" in pod.log and "task is at child=2" in pod.log, 15)
    assert "jobs_for_processes.py" in pod.log, "no stack of a thread"
    pod.signal(signal.SIGTSTP)
    await wait_until(lambda: pod.log.count("signal: quiet") == 2, 15, pod.log)
    await client.enqueue("gated", ["z"])
    await traces.open_gate("x")
    await traces.open_gate("y")

    async def holds_nothing() -> bool:
        return (await pod.activity(redis)).held == 0

    await wait_until(holds_nothing, 15)
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log
    assert await traces("started") == {"x": 1, "y": 1}


async def test_a_process_that_somebody_stops_ends_its_jobs_and_another_takes_its_place(
    client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    pids = await spread(client, traces, "x", "y")
    os.kill(pids["x"], signal.SIGTERM)
    await traces.open_gate("x")
    await wait_until(lambda: not is_running(pids["x"]), 15)
    assert (await spread(client, traces, "z"))["z"] not in set(pids.values())
    await traces.open_gate("y")
    await traces.open_gate("z")
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log
    assert await traces("started") == {"x": 1, "y": 1, "z": 1}


async def test_a_process_that_has_grown_ends_its_jobs_while_another_takes_its_place(
    client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1", "--max-memory-mb", "400")
    await client.enqueue("gated", ["big", 500])
    await traces.until_started("big", seconds=30)
    await wait_until(lambda: "grown over the limit of memory" in pod.log, 15, pod.log)
    old = (await traces("pids"))["big"]
    pids = await spread(client, traces, "x", "y")
    assert len({pids["x"], pids["y"], old}) == 3
    await traces.open_gate("big")
    await wait_until(lambda: not is_running(old), 30)
    # Until its parent has seen it, one that has ended is a child all the same.
    await wait_until(lambda: len(children_of(pod)) == 3, 15)
    assert await traces("started") == {"big": 1, "x": 1, "y": 1}
    await traces.open_gate("x")
    await traces.open_gate("y")
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log


async def test_probes_speak_for_all_processes(start_pod: StartPod) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pod = start_pod("--processes", "2", "--health-port", str(port))

    def answer(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    await wait_until(lambda: answer("/readyz") == 200, 30, pod.log)
    assert answer("/livez") == 200
    assert pod.log.count("jobs known") >= 2

"""Several processes in one pod: whoever of them dies, nobody's jobs are lost, nor doubled by another's death."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.records import Entry, Number, RescueAnswer, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts
from jobworker.runtime.settings import Settings
from jobworker.swarm.child import SharedLife, SharedState
from jobworker.swarm.numbers import first_number
from tests.integration.worker import pods
from tests.integration.worker.conftest import KEYS, Traces
from tests.integration.worker.pods import StartPod, children_of, is_running, speaker_of, spread
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis
start_pod = pods.start_pod  # a fixture


async def test_jobs_of_a_killed_process_run_again_at_once_and_those_of_others_go_on(
    redis: Redis, client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "2")
    pids = await spread(client, traces, "w", "x", "y", "z")
    epoch = (await pod.activity(redis)).epoch
    victim = pids["w"]
    lost = {name for name, pid in pids.items() if pid == victim}
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    await traces.until_started(*lost, times=2, seconds=15)
    seconds = time.monotonic() - began
    print(f"\n{len(lost)} jobs of a killed process run again {seconds:.1f} s after its SIGKILL")  # noqa: T201  # a figure for the reader
    started = await traces("started")
    assert {name for name, times in started.items() if times == 2} == lost
    assert victim not in {pid for name, pid in (await traces("pids")).items() if name in lost}
    for name in pids:
        await traces.open_gate(name)

    async def all_done() -> bool:
        return await traces("done") == dict.fromkeys(pids, 1)

    await wait_until(all_done, 15)
    assert (await pod.activity(redis)).epoch == epoch
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log


async def test_what_another_process_of_the_pod_took_is_nobody_elses_to_run_after_a_cut_connection(redis: Redis) -> None:
    life = SharedLife(2, redis, KEYS, WorkerId("a"), Settings(), SharedState())
    numbers = [first_number(1), first_number(2), first_number(2) + 5, first_number(3)]
    await life.scripts.hold([Entry(Number(number), "default", 0, b"{}") for number in numbers])
    assert [entry.number for entry in await life.held()] == numbers[1:3]


async def test_no_process_outlives_its_parent_and_the_next_life_of_the_pod_rescues_their_jobs(
    client: Client, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    await spread(client, traces, "x", "y")
    children = children_of(pod)
    assert len(children) == 3
    pod.signal(signal.SIGKILL)
    await wait_until(lambda: not [pid for pid in children if is_running(pid)], 15)
    start_pod("--processes", "2", "-c", "1")
    await traces.until_started("x", "y", times=2, seconds=30)


async def test_who_speaks_for_the_pod_can_die_without_any_job_noticing(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "1")
    await spread(client, traces, "x", "y")
    epoch = (await pod.activity(redis)).epoch
    first = speaker_of(pod)
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: speaker_of(pod) != first, 15, "another speaker")
    await fleet.quiet(pod.identity, "operator: test")
    await wait_until(lambda: pod.log.count("quiet: taking no more jobs") == 3, 15, pod.log)
    activity = await pod.activity(redis)
    assert (activity.alive, activity.held, activity.epoch) == (True, 2, epoch)
    await traces.open_gate("x")
    await traces.open_gate("y")
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log
    assert await traces("started") == {"x": 1, "y": 1}


async def test_a_pod_that_was_taken_for_dead_begins_anew_with_all_its_processes(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_pod: StartPod
) -> None:
    pod = start_pod("--processes", "2", "-c", "2")
    await spread(client, traces, "x", "y")
    epoch = (await pod.activity(redis)).epoch
    rescued = await rescue(fleet, pod.identity, "local/default", Death(vouched=True))
    assert (rescued.answer, rescued.moved) == (RescueAnswer.OK, 2)
    await traces.until_started("x", "y", times=2, seconds=30)
    await traces.open_gate("x")
    await traces.open_gate("y")

    async def holds_nothing() -> bool:
        return (await pod.activity(redis)).held == 0

    await wait_until(holds_nothing, 15)
    assert (await pod.activity(redis)).epoch not in {epoch, None}
    assert int(await redis.get(KEYS.stat("processed")) or 0) == 2
    pod.signal(signal.SIGTERM)
    assert await pod.exit_code(30) == 0, pod.log


async def test_processes_hold_anew_what_a_redis_forgot_that_lost_its_data(tmp_path: Path, start_pod: StartPod) -> None:
    with RedisServer(tmp_path / "redis") as server:
        redis = Redis.from_url(server.url)
        pod = start_pod("--processes", "2", "-c", "1", JOBWORKER_REDIS_URL=server.url)
        paths = [tmp_path / name for name in ("x", "y")]
        for path in paths:
            await Client(redis).enqueue("until_file", [str(path)])
        started = [Path(f"{path}.started") for path in paths]
        await wait_until(lambda: all(path.exists() for path in started), 30, pod.log)
        await redis.connection_pool.disconnect()
        server.kill()
        server.start()

        async def both_are_held_anew() -> bool:
            activity = await pod.activity(redis)
            return activity.held == 2 and activity.running == 2

        await wait_until(both_are_held_anew, 30, pod.log)
        for path in paths:
            path.touch()

        async def holds_nothing() -> bool:
            return (await pod.activity(redis)).held == 0

        await wait_until(holds_nothing, 30, pod.log)
        pod.signal(signal.SIGTERM)
        assert await pod.exit_code(30) == 0, pod.log
        assert [path.read_text() for path in started] == ["once ", "once "]
        assert int(await redis.get(KEYS.stat("processed")) or 0) == 2
        await redis.aclose()


async def test_processes_that_cannot_start_end_the_pod_with_the_reason(start_pod: StartPod) -> None:
    pod = start_pod("--processes", "2", TEST_CHILDREN_FAIL="1")
    assert await pod.exit_code(60) == 1
    assert "ended 4 times in a row before it could take a job" in pod.log


async def test_a_redis_that_is_away_at_the_start_ends_the_pod(start_pod: StartPod) -> None:
    pod = start_pod("--processes", "2", "--connect-seconds", "0.5", "--redis", "redis://127.0.0.1:1/0")
    assert await pod.exit_code(60) == 1
    assert "giving up after" in pod.log


async def test_a_limit_below_what_the_application_takes_by_itself_is_refused(start_pod: StartPod) -> None:
    pod = start_pod("--processes", "2", "--max-memory-mb", "1")
    assert await pod.exit_code(60) == 1
    assert "raise --max-memory-mb" in pod.log

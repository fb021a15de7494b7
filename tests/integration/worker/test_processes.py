"""Several processes in one pod: one identity, one health, and nobody's jobs are lost or doubled by another's death."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.protocol.records import Entry, Number, RescueAnswer, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts
from jobworker.runtime.settings import Settings
from jobworker.swarm.child import SharedLife, SharedState
from jobworker.swarm.numbers import first_number
from tests.integration.worker.conftest import KEYS, Traces, WorkerProcess
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class StartPod(Protocol):
    def __call__(self, *flags: str, **environment: str) -> WorkerProcess: ...


@pytest.fixture
def start_pod(tmp_path: Path, redis_server: RedisServer) -> Iterator[StartPod]:
    """Starts a worker named a of several processes."""
    started: list[WorkerProcess] = []

    def start(*flags: str, **environment: str) -> WorkerProcess:
        log_file = tmp_path / f"pod-{len(started)}.log"
        command = [sys.executable, "-m", "jobworker.cli", "run", "jobs_for_processes:app", *flags]
        defaults = {
            "JOBWORKER_REDIS_URL": redis_server.url,
            "JOBWORKER_WORKER": "a",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, env={**os.environ, **defaults, **environment}, stdout=log, stderr=log)
        started.append(WorkerProcess(WorkerId("a"), process, log_file))
        return started[-1]

    yield start
    for worker in started:
        children = children_of(worker)
        worker.process.kill()
        worker.process.wait(10)
        for pid in children:
            if Path(f"/proc/{pid}").exists() and b"jobs_for_processes" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def children_of(worker: WorkerProcess) -> set[int]:
    try:
        told = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text()
    except FileNotFoundError:
        return set()
    return {int(pid) for pid in told.split()}


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def speaker_of(worker: WorkerProcess) -> int:
    """The last that was started."""
    line = [line for line in worker.log.splitlines() if "process started child=speaker" in line][-1]
    return int(line.rsplit("pid=", 1)[1])


async def spread(client: Client, traces: Traces, *names: str) -> dict[str, int]:
    """Start these jobs; in which process each runs."""
    for name in names:
        await client.enqueue("gated", [name])
    await traces.until_started(*names, seconds=30)
    return await traces("pids")


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
    await wait_until(lambda: pod.log.count("in gated") >= 2, 15, pod.log)
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
    assert len(children_of(pod)) == 3
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

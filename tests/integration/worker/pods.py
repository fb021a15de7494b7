"""Workers of several processes, started as a user would, ended with the test; and where their processes are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from jobworker import Client
from jobworker.protocol.records import WorkerId
from tests.integration.worker.conftest import Traces, WorkerProcess
from tests.redis_server import RedisServer


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

"""Starts workers and programs, hands tasks to them, and reads what they tell."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.worker.environments import ROOT, DebianEnvironment
from bench.worker.processes import Started
from bench.worker.rig import RoundFailed, until
from bench.worker.server import Counters, Server
from jobworker.client.synchronous import SyncClient

SIDEKIQ = DebianEnvironment(("ruby-sidekiq",), "ruby")
"""Where the peer runs. Without hiredis: a call to Redis every five seconds is no matter of drivers."""

SIDEKIQ_QUEUE = "walks"

_PEERS = Path(__file__).parent / "peers/ruby"
_WALK_SECONDS = 300.0
_START_SECONDS = 60.0
_NO_REDIS = Counters(0, 0, 0.0, 0)
_ASK_SECONDS = 1.0
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Told:
    """What a run took: time that passed, and CPU of the whole process that it ran in.

    ``redis`` is what Redis did meanwhile, for anybody, with how the job came to its worker and went; nothing of a loop.
    ``resident_mib`` is of a job that watches its memory.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    redis: Counters
    resident_mib: tuple[float, ...] = ()

    @property
    def rows_per_second(self) -> float:
        """Of the clock on the wall."""
        return self.rows / self.seconds

    @property
    def cpu_us(self) -> float:
        """µs of CPU a row."""
        return self.cpu_seconds / self.rows * 1e6


class Rig:
    """One Redis, one folder for what is told and for logs."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._numbers = itertools.count(1)
        self._client = SyncClient(f"redis://127.0.0.1:{server.port}/0")

    def worker(self) -> Started:
        """A worker that runs a job at a time."""
        command = [str(ROOT / ".venv/bin/jobworker"), "run", "bench.iteration.programs.jobs:app", "-c", "1"]
        return Started([command], ROOT, self._environment(), self._folder / "worker.log")

    def sidekiq(self) -> Started:
        """Sidekiq, which runs the same walks with a cursor written by hand, a job at a time."""
        command = [SIDEKIQ.program("sidekiq"), "-r", "./walk.rb", "-c", "1", "-q", SIDEKIQ_QUEUE]
        return Started([command], _PEERS, self._environment(), self._folder / "sidekiq.log")

    def run(self, worker: Started, job: str, task: Mapping[str, Any], *, queue: str = "default") -> Told:
        """Have a job done, and wait for what it tells.

        Raises:
            RoundFailed: it told nothing, or not of all rows.
        """
        failed, told, counted = self._failed(), self.place(), self.server.counters()
        self._client.enqueue(job, [{**task, "told": str(told)}], queue=queue, retry=False)
        deadline = time.monotonic() + _WALK_SECONDS
        # Redis is asked once a second only, since what it does is counted.
        while not until(lambda: told.exists() or worker.ended(), _ASK_SECONDS, _LOOK_SECONDS):
            if self._failed() > failed or time.monotonic() > deadline:
                break
        if not told.exists():
            raise RoundFailed(f"{job} told nothing of {task}: {worker.last_words()}")
        return _read(told.read_text(), task, self.server.counters().since(counted))

    def enqueue(self, job: str, task: Mapping[str, Any]) -> Path:
        """Have a job done and do not wait for it; where it tells of itself."""
        told = self.place()
        self._client.enqueue(job, [{**task, "told": str(told)}], retry=False)
        return told

    def call(self, program: str, task: Any) -> Any:
        """Run a program in a process of its own; what its last line says.

        Raises:
            RoundFailed: it did not come to its end.
        """
        command = [sys.executable, "-m", f"bench.iteration.programs.{program}", json.dumps(task)]
        try:
            ran = subprocess.run(
                command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, timeout=_WALK_SECONDS,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RoundFailed(f"{program} was not done after {_WALK_SECONDS:.0f} s") from error
        if ran.returncode != 0:
            raise RoundFailed(f"{program} failed: {' / '.join(ran.stderr.strip().splitlines()[-3:])}")
        return json.loads(ran.stdout.strip().splitlines()[-1])

    def loop(self, task: Mapping[str, Any]) -> Told:
        """The plain loop over what a task names.

        Raises:
            RoundFailed: it failed, or did not see all rows.
        """
        return _read(json.dumps(self.call("loop", task)), task, _NO_REDIS)

    def wait_for_workers(self, count: int) -> None:
        """Wait until as many workers as that are known to each other.

        Raises:
            RoundFailed: they did not become as many.
        """
        if not until(lambda: self._workers() == count, _START_SECONDS):
            raise RoundFailed(f"there are {self._workers()} workers after {_START_SECONDS:.0f} s, and not {count}")

    def place(self) -> Path:
        """Where something new can be told."""
        return self._folder / f"told-{next(self._numbers)}"

    def _failed(self) -> int:
        return int(self.server.client.get("stat:failed") or 0)

    def _workers(self) -> int:
        return int(self.server.client.scard("processes"))

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "BENCH_REDIS_PORT": str(self.server.port), "PYTHONPATH": str(ROOT)}


def _read(text: str, task: Mapping[str, Any], redis: Counters) -> Told:
    told = json.loads(text)
    if told["rows"] != task["rows"]:
        raise RoundFailed(f"{told['rows']} of {task['rows']} rows were walked over")
    return Told(
        rows=told["rows"],
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        redis=redis,
        resident_mib=tuple(told.get("resident_mib", ())),
    )

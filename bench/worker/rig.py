"""Starts a contestant's producer and workers, with all that they have to know in their environment."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.worker.contestants import Contestant
from bench.worker.effects import Effects
from bench.worker.processes import Started
from bench.worker.server import Server

_PRODUCE_SECONDS = 180.0


class RoundFailed(Exception):
    """A round gave no figure; the message says why."""


@dataclass(frozen=True, slots=True)
class Produced:
    """``jobs`` were enqueued in ``seconds``, the first one, which connects, not counted where they go one by one.

    ``ratios`` are what a producer that compares itself found.
    """

    jobs: int
    seconds: float
    ratios: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """What the jobs of a round do: ``noop``, ``stamp`` or ``sleep:MILLISECONDS``."""

    job: str
    count: int
    gaps: tuple[float, float] = (0.01, 0.05)
    seed: int = 1


class Rig:
    """One Redis, one folder for effects and logs."""

    def __init__(self, server: Server, folder: Path, concurrency: Mapping[str, int]) -> None:
        self.server = server
        self._folder = folder
        self._concurrency = concurrency

    def round(self, task: Task) -> Effects:
        """An empty Redis and no effects."""
        effects = Effects(self._folder, task.count)
        effects.clear()
        self.server.empty()
        return effects

    def produce(self, contestant: Contestant, task: Task, mode: str) -> Produced:
        """Run its producer to the end.

        Raises:
            RoundFailed: it did not come to its end.
        """
        with self.producing(contestant, task, mode) as producer:
            return finished(producer)

    def producing(self, contestant: Contestant, task: Task, mode: str) -> subprocess.Popen[str]:
        """Its producer, running."""
        return subprocess.Popen(
            [*self._command(contestant, contestant.producer, 1), mode],
            cwd=contestant.environment.folder,
            env=self._environment(contestant, task, "producer"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def work(self, contestant: Contestant, task: Task, *, processes: int = 1, waiting: bool = False) -> Started:
        """Its workers, started. ``waiting``: their jobs wait for something, so many may run at once."""
        chosen = (contestant.io_concurrency if waiting else None) or contestant.concurrency
        concurrency = self._concurrency.get(contestant.name, chosen)
        command = self._command(contestant, contestant.worker, concurrency)
        environment = self._environment(contestant, task, "worker") | {"BENCH_CONCURRENCY": str(concurrency)}
        log = self._folder / f"{contestant.name}.log"
        return Started([command] * processes, contestant.environment.folder, environment, log)

    def settled(self, contestant: Contestant, seconds: float = 10.0) -> bool:
        """Are its queues empty, within a time for the last acknowledgements?"""
        return until(lambda: self.left(contestant) == 0, seconds)

    def left(self, contestant: Contestant) -> int:
        """Jobs that wait or are held."""
        return sum(self.server.waiting(pattern) for pattern in contestant.queues)

    def _command(self, contestant: Contestant, command: tuple[str, ...], concurrency: int) -> list[str]:
        filled = [
            word.format(concurrency=concurrency, port=self.server.port, url=f"redis://127.0.0.1:{self.server.port}/0")
            for word in command
        ]
        return [contestant.environment.program(filled[0]), *filled[1:]]

    def _environment(self, contestant: Contestant, task: Task, role: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "BENCH_ROLE": role,
            "BENCH_FOLDER": str(self._folder),
            "BENCH_REDIS_PORT": str(self.server.port),
            "BENCH_JOB": task.job,
            "BENCH_COUNT": str(task.count),
            "BENCH_GAPS": f"{task.gaps[0]}:{task.gaps[1]}",
            "BENCH_SEED": str(task.seed),
            "PYTHONPATH": str(contestant.environment.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            **contestant.variables,
        }


def finished(producer: subprocess.Popen[str]) -> Produced:
    """What a producer says at its end.

    Raises:
        RoundFailed: it did not come to its end.
    """
    try:
        said, complained = producer.communicate(timeout=_PRODUCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        producer.kill()
        raise RoundFailed(f"the producer was not done after {_PRODUCE_SECONDS:.0f} s") from error
    if producer.returncode != 0:
        raise RoundFailed(f"the producer failed: {' / '.join(complained.strip().splitlines()[-3:])}")
    told = json.loads(said.strip().splitlines()[-1])
    return Produced(int(told["jobs"]), float(told["seconds"]), tuple(told.get("ratios", ())))


def until(happened: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Wait for something to become true; False if it did not in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True

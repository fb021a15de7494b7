"""Forks workers from a process that has imported everything, kills them at random, and starts the next life of each.

A worker is the program `jobworker run` with its arguments. Each kind of job has a worker of its own, so that each kill
is one of its kind. Some are stopped in place of killed: their next life runs the jobs already when they come back.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from redis.asyncio import Redis

from jobworker.cli.main import cli
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts
from tests.chaos.records import LIFE
from tests.kills.names import BEGAN
from tests.kills.tripwire import set_tripwire

_LONGEST = 0.6  # seconds from the first walk of a life that is killed at a random time
_EARLY = 0.15  # as many of these lives are killed as long after their birth, mostly before their first walk
_PATIENCE = 4.0  # for a tripwire: a life with another job, or none, may never get to its instruction
_INSTRUCTIONS = (300, 40_000)
_AWAY_SECONDS = (0.1, 1.5)  # of those that are stopped: the next life mostly works by then
_BACK_SECONDS = (0.05, 0.4)
_POLL = 0.003
_FLEET = "kills/fleet"
_TELLS = 200  # the number of the file by which a worker tells of its first walk


class How(Enum):
    """How a life ends. Those that are stopped come back beside their next life, and are killed then."""

    TIME = "SIGKILL at a random time"
    INSTRUCTION = "SIGKILL at a random instruction"
    STOP = "SIGSTOP at a random time, back later"
    STOP_AT_INSTRUCTION = "SIGSTOP at a random instruction, back later"
    LEFT = "left alone"


_WEIGHTS = {How.TIME: 45, How.INSTRUCTION: 35, How.STOP: 10, How.STOP_AT_INSTRUCTION: 10}


@dataclass(slots=True)
class Life:
    """One process."""

    pid: int
    identity: str
    kind: str
    how: How
    until: float
    seconds: float
    """To live from its first walk on; its tripwire or ``until`` ends it otherwise."""
    began: int
    """The end of a pipe that tells of the first walk."""
    stopped: bool = False
    goes_on: float = math.inf

    @property
    def stops(self) -> bool:
        return self.how in {How.STOP, How.STOP_AT_INSTRUCTION}


@dataclass(slots=True)
class Score:
    """SIGKILLs by kind, those of workers that held a job, and by how; ``foul`` are lives that ended by themselves."""

    kinds: Counter[str] = field(default_factory=Counter)
    at_work: Counter[str] = field(default_factory=Counter)
    hows: Counter[How] = field(default_factory=Counter)
    foul: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.kinds.total()


class Arena:
    """All workers of a run. Single-threaded, since it forks."""

    def __init__(self, kinds: list[str], chance: random.Random, logs: Path, at_work: Callable[[str], bool]) -> None:
        self.score = Score()
        self._chance = chance
        self._logs = logs
        self._at_work = at_work
        self._serial = 0
        self._orphans: dict[str, list[str]] = defaultdict(list)
        self._killing = True
        self._lives = {kind: self._start(kind) for kind in kinds}
        self._zombies: list[Life] = []

    def step(self) -> None:
        """Look once, and do what is due."""
        time.sleep(_POLL)
        for kind, life in list(self._lives.items()):
            if self._is_over(life):
                self._lives[kind] = self._start(kind, life)
        for zombie in list(self._zombies):
            if self._is_buried(zombie):
                self._zombies.remove(zombie)

    def relent(self) -> None:
        """Kill nobody any more: all lives end as they would, and the next ones are left alone."""
        self._killing = False

    @property
    def calm(self) -> bool:
        """Are all that live left alone?"""
        return not self._zombies and all(life.how is How.LEFT for life in self._lives.values())

    def close(self) -> None:
        """End all of them."""
        for life in (*self._lives.values(), *self._zombies):
            with suppress(ProcessLookupError):
                os.kill(life.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(life.pid, 0)

    def _start(self, kind: str, before: Life | None = None) -> Life:
        self._serial += 1
        chance, now = self._chance, time.monotonic()
        how = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0] if self._killing else How.LEFT
        lowest, highest = map(math.log, _INSTRUCTIONS)
        # Small numbers are as likely as large ones: the first steps of a run matter as much as its thousandth.
        instruction = round(math.exp(chance.uniform(lowest, highest)))
        seconds, early = chance.uniform(0.0, _LONGEST), chance.random() < _EARLY
        identity, orphans = f"{kind}-{self._serial}", self._orphans.pop(kind, [])
        if before is not None and before.stops:
            orphans.append(before.identity)
        elif before is not None:
            # As a container that starts again: it takes up what the life before it held.
            identity = before.identity
        began, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            _live(identity, kind, orphans, how, instruction, self._logs / f"{kind}.log", tells)
        os.close(tells)
        os.set_blocking(began, False)
        by_time = how in {How.TIME, How.STOP}
        until = now + (math.inf if how is How.LEFT else seconds if by_time and early else _PATIENCE)
        return Life(pid, identity, kind, how, until, seconds if by_time and not early else math.inf, began)

    def _is_over(self, life: Life) -> bool:
        """Did it end, or has it to make room for the next life?"""
        pid, status = os.waitpid(life.pid, os.WNOHANG | os.WUNTRACED)
        if pid and not os.WIFSTOPPED(status):
            self._count(life, status)
            return True
        now = time.monotonic()
        if life.seconds < math.inf and _told(life.began):
            life.until, life.seconds = now + life.seconds, math.inf
        if pid or (life.stops and now >= life.until):
            os.kill(life.pid, signal.SIGSTOP)
            life.stopped, life.goes_on = True, now + self._chance.uniform(*_AWAY_SECONDS)
            life.until = life.goes_on + self._chance.uniform(*_BACK_SECONDS)
            self._zombies.append(life)
            return True
        if now >= life.until:
            os.kill(life.pid, signal.SIGKILL)
            life.until = math.inf
        return False

    def _is_buried(self, zombie: Life) -> bool:
        now = time.monotonic()
        if zombie.stopped and now >= zombie.goes_on:
            os.kill(zombie.pid, signal.SIGCONT)
            zombie.stopped = False
        elif now >= zombie.until:
            os.kill(zombie.pid, signal.SIGKILL)
            zombie.until = math.inf
        pid, status = os.waitpid(zombie.pid, os.WNOHANG)
        if pid:
            self._count(zombie, status)
            self._orphans[zombie.kind].append(zombie.identity)
        return bool(pid)

    def _count(self, life: Life, status: int) -> None:
        os.close(life.began)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            self.score.kinds[life.kind] += 1
            self.score.hows[life.how] += 1
            self.score.at_work[life.kind] += self._at_work(life.identity)
        else:
            self.score.foul.append(f"a worker of {life.kind} ended by itself with code {code}; its log is {self._logs}")


def _live(identity: str, kind: str, orphans: list[str], how: How, instruction: int, log: Path, tells: int) -> None:
    """The child, to its end."""
    code = 70
    try:
        os.environ[LIFE] = f"{kind}-{os.getpid()}"
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (written, 1), (written, 2), (tells, _TELLS)):
            os.dup2(source, target)
        os.closerange(3, _TELLS)
        os.closerange(_TELLS + 1, 256)
        os.environ[BEGAN] = str(_TELLS)
        asyncio.run(_rescue(orphans))
        if how is How.INSTRUCTION:
            set_tripwire(instruction, signal.SIGKILL)
        elif how is How.STOP_AT_INSTRUCTION:
            set_tripwire(instruction, signal.SIGSTOP)
        flags = ["-q", kind, "-c", "2", "--worker", identity, "--fleet", _FLEET]
        cli.main(["run", "tests.kills.jobs:app", *flags], standalone_mode=False)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # a child must never go on as a second parent
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _told(pipe: int) -> bool:
    try:
        return bool(os.read(pipe, 1))
    except BlockingIOError:
        return False


async def _rescue(orphans: list[str]) -> None:
    """Give back what they hold, as the operator does when a pod is gone. One that was only stopped may come back."""
    if not orphans:
        return
    async with Redis.from_url(os.environ["JOBWORKER_REDIS_URL"], protocol=3) as connection:
        scripts = FleetScripts(connection, Keys())
        for orphan in orphans:
            await rescue(scripts, WorkerId(orphan), _FLEET, Death(vouched=True, forget=True))

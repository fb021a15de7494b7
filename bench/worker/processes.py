"""A contestant's processes: started in a group of their own, read from /proc, ended by their group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_STOP_SECONDS = 8.0
_RSS = 21  # place behind the name in /proc/PID/stat (field 24 in proc(5))
_IDLE, _IOWAIT = 3, 4  # places in the first line of /proc/stat


@dataclass(frozen=True, slots=True)
class Usage:
    """User and system time of all processes since they started, and their resident memory now."""

    cpu_seconds: float
    rss_mib: float


class Started:
    """Programs of a contestant, with all their children, until the block ends."""

    def __init__(
        self, commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        self._commands = commands
        self._folder = folder
        self._environment = environment
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            for command in self._commands:
                self._processes.append(
                    subprocess.Popen(
                        command,
                        cwd=self._folder,
                        env=dict(self._environment),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing is owed to anybody once a round is over: how long a contestant takes to say goodbye is not measured.
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its session is its own, and so is the group
            process.wait(_STOP_SECONDS)

    def ended(self) -> bool:
        """Did one of the programs end by itself?"""
        return any(process.poll() is not None for process in self._processes)

    def last_words(self) -> str:
        """The end of what they printed."""
        return " / ".join(self._log.read_text("utf-8", "replace").split("\n")[-4:]).strip()

    def usage(self) -> Usage:
        """CPU and memory of the programs and all their children that live."""
        found = [_stat(pid) for program in self._processes for pid in _tree(program.pid)]
        return Usage(sum(one.cpu_seconds for one in found), sum(one.rss_mib for one in found))


def busy_seconds() -> float:
    """CPU time that anything on this machine has used since it started, with what the hypervisor took from it."""
    spent = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(spent) - spent[_IDLE] - spent[_IOWAIT]) / _TICKS


def _tree(root: int) -> list[int]:
    pids = [root]
    for pid in pids:  # grows while it is walked
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                pids += [int(child) for child in listed.read_text().split()]
            except OSError:
                continue  # the thread ended meanwhile
    return pids


def _stat(pid: int) -> Usage:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # The clock of another process, as clock_getcpuclockid(3) numbers it: /proc counts in hundredths of a second,
        # which is too coarse for a worker that does nothing.
        cpu = time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return Usage(0.0, 0.0)  # it ended meanwhile
    return Usage(cpu, int(fields[_RSS]) * _PAGE / _MIB)

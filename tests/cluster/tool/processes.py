"""Start, record and find the processes of a cluster.

They are in sessions of their own, so that they outlive the command. A record holds a process's start time beside its
pid: a pid that the kernel gave to somebody else since then is never taken for ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.tool.errors import ClusterError, MissingProgramError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Joins the cgroups named before "--", then becomes the program: not a moment in which it is outside of them.
JOIN_AND_EXEC = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that was started: what it is, and the pair (pid, start time) that names it for good."""

    component: str
    pid: int
    start_ticks: int
    log: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; false when its pid is another's by now."""
        return start_ticks(self.pid) == self.start_ticks

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to this very process only.

        Raises:
            ClusterError: it has ended.
        """
        if not self.alive:
            raise ClusterError(f"{self.component} (pid {self.pid}) has ended; its log is {self.log}")
        os.kill(self.pid, number)

    def write(self, folder: Path) -> None:
        """Keep the record; a crash leaves either the old one or the new one."""
        folder.mkdir(parents=True, exist_ok=True)
        half = folder / f".{self.component}"
        half.write_text(json.dumps(asdict(self)))
        half.replace(folder / f"{self.component}.json")


def start_ticks(pid: int, proc: Path = Path("/proc")) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none, or only a zombie."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name is in parentheses and may hold anything; fields are counted from its end.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in {"Z", "X"} else int(started)


def read_records(folder: Path) -> dict[str, ProcessRecord]:
    """All records in a folder by component; none when the folder is missing."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        record = ProcessRecord(**json.loads(file.read_text()))
        found[record.component] = record
    return found


def start(
    component: str,
    command: Sequence[str],
    *,
    log: Path,
    records: Path,
    procs_files: Sequence[Path],
    environment: Mapping[str, str] | None = None,
) -> ProcessRecord:
    """Start a process in a session and in cgroups of its own, with its output in `log`, and record it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    joining = ["sh", "-c", JOIN_AND_EXEC, "join", *map(str, procs_files), "--", *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            joining,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=plain_environment() | dict(environment or {}),
        )
    ticks = start_ticks(process.pid)
    record = ProcessRecord(component=component, pid=process.pid, start_ticks=ticks or 0, log=str(log))
    record.write(records)
    # Python warns of a child that it never waited for; these are meant to outlive it.
    process.returncode = 0
    return record


def plain_environment() -> dict[str, str]:
    """The environment for components: theirs to know are the PATH and a home, not the caller's settings."""
    return {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "HOME": os.environ.get("HOME", "/")}


def run(command: Sequence[str], *, stdin: str | None = None, doing: str = "") -> str:
    """Run a program to its end and return its output.

    Raises:
        MissingProgramError: it is not installed.
        ClusterError: it failed; the message holds the command and what it said.
    """
    require(command[0])
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        what = f"{doing}: " if doing else ""
        raise ClusterError(f"{what}{' '.join(command)} failed with {done.returncode}:\n{said}")
    return done.stdout


def require(program: str) -> None:
    """Check that a program is there.

    Raises:
        MissingProgramError: it is not; the message says how to get it.
    """
    if shutil.which(program, path=plain_environment()["PATH"]) is None:
        raise MissingProgramError(f"{program} is missing: run `scripts/bootstrap cluster`, which installs it")

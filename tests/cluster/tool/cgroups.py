"""The cgroups of one cluster: every process of it is in there, so what they hold is what `down` ends.

Works on cgroup v1 (a tree for each controller) and v2 (one tree).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.cluster.tool.errors import ClusterError

KILL_TIMEOUT_SECONDS = 20.0


def hierarchies() -> list[Path]:
    """Mount points of the cgroup trees: those of v1, the one of v2, or both on a machine in between."""
    mounts: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        kind = source.split()[0]
        if kind in {"cgroup", "cgroup2"}:
            mounts.append(Path(mount.split()[4]))
    return mounts


def make(path: str) -> None:
    """Make a cgroup in every tree, with its parents."""
    for mount in hierarchies():
        parent = mount
        for part in Path(path).parts:
            _delegate_controllers(parent)
            cgroup = parent / part
            cgroup.mkdir(exist_ok=True)
            # A v1 cpuset starts empty and then takes no process.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if not _is_second_version(parent) and (cgroup / setting).exists():
                    (cgroup / setting).write_text((parent / setting).read_text())
            parent = cgroup


def _is_second_version(cgroup: Path) -> bool:
    return (cgroup / "cgroup.controllers").exists()


def _delegate_controllers(parent: Path) -> None:
    if _is_second_version(parent):
        available = (parent / "cgroup.controllers").read_text().split()
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in available))


def procs_files(path: str) -> list[Path]:
    """The files which a process writes its pid to in order to join the cgroup."""
    return [mount / path / "cgroup.procs" for mount in hierarchies()]


def members(path: str) -> set[int]:
    """Pids of all processes in the cgroup and below it."""
    found: set[int] = set()
    for mount in hierarchies():
        for folder, _, files in os.walk(mount / path):
            if "cgroup.procs" in files:
                # A pod's cgroup may go away between the listing and the read.
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
    return found - {0}


def kill(path: str) -> int:
    """End every process in the cgroup with SIGKILL and wait until they are gone; returns how many there were.

    Raises:
        ClusterError: some are still there after 20 seconds.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_TIMEOUT_SECONDS
    while pids := members(path):
        killed |= pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {sorted(pids)} of cgroup {path} do not end: see /proc/PID/stack of them")
        time.sleep(0.05)
    return len(killed)


def remove(path: str) -> None:
    """Remove the cgroup and everything below it, in every tree. All processes must have ended."""
    for mount in hierarchies():
        for folder, _, _ in os.walk(mount / path, topdown=False):
            _remove_when_free(Path(folder))


def _remove_when_free(folder: Path) -> None:
    # The kernel lets go of a dead process's cgroup a moment after the process has left the listing.
    for _ in range(100):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ClusterError(f"cgroup {folder} cannot be removed: a process is still in it")

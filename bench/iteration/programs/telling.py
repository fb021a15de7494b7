"""How a run tells what it took, in a file of its own, and what the file looks like while somebody waits for it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_KIB = 1024


class Clock:
    """From when it is made: time that passed, and CPU time of the whole process, threads and event loop alike."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._path = Path(task["told"])
        self._seconds = time.perf_counter()
        self._cpu = time.process_time()

    def tell(self, rows: int, **more: Any) -> None:
        """Write it down, so that who looks sees all of it or nothing."""
        told = {
            "rows": rows,
            "seconds": time.perf_counter() - self._seconds,
            "cpu_seconds": time.process_time() - self._cpu,
            **more,
        }
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text(json.dumps(told))
        unfinished.rename(self._path)


class Stamps:
    """When which item began, and in which process: a line for each, added to one file by all of them."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._file = os.open(task["told"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._pid = os.getpid()

    def add(self, item: int) -> None:
        """It begins."""
        os.write(self._file, b"%d %d %d\n" % (time.monotonic_ns(), self._pid, item))


def resident_mib() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / _KIB

"""The machine in words, and where the documentation's table goes."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")


def described(redis_version: str) -> str:
    """Cores, CPU and versions; no names of hosts."""
    model = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    gib = f", {round(int(memory[1]) / 1024 / 1024)} GiB of memory" if memory else ""
    cores = os.cpu_count() or 1
    return (
        f"{cores} core{'s' * (cores != 1)} of {model[1].strip() if model else 'an unknown CPU'}{gib}, Linux, "
        f"CPython {platform.python_version()}, Redis {redis_version} on loopback without persistence, "
        f"{datetime.now(UTC):%d %B %Y}"
    )


def replaced(document: str, tables: str, begin: str, end: str) -> str:
    """The document with what stands between two marks replaced.

    Raises:
        ValueError: a mark is not there.
    """
    before, found, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the document has no {begin} … {end} to write between")
    return f"{before}{begin}\n{tables}\n{end}{after}"

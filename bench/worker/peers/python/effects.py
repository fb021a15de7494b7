"""The work that every Python contestant does, and how the bench learns that it was done.

A job writes into its own place of a file that is mapped into memory: one byte when it ran, or the clock when it
began. No lock, no system call, nothing in Redis; it survives the death of the process, and whoever looks from
outside sees lost jobs and jobs that ran twice. ``BENCH_JOB`` says which work it is.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

COUNT = int(os.environ.get("BENCH_COUNT", "1"))


def _place(kind: str, size: int) -> memoryview:
    """A file of this process; whoever only enqueues gets plain memory."""
    if os.environ.get("BENCH_ROLE") != "worker":
        return memoryview(bytearray(size))
    path = Path(os.environ["BENCH_FOLDER"]) / f"{kind}-{os.getpid()}"
    with path.open("wb+") as file:
        file.truncate(size)
        return memoryview(mmap.mmap(file.fileno(), size))


def _noop() -> tuple[Callable[[int], None], Callable[[int], Coroutine[Any, Any, None]]]:
    seen = _place("seen", COUNT)

    def plain(number: int) -> None:
        seen[number] += 1

    async def asynchronous(number: int) -> None:
        seen[number] += 1

    return plain, asynchronous


def _stamp() -> tuple[Callable[[int], None], Callable[[int], Coroutine[Any, Any, None]]]:
    times = _place("times", 8 * COUNT).cast("q")

    def plain(number: int) -> None:
        times[number] = time.monotonic_ns()

    async def asynchronous(number: int) -> None:
        times[number] = time.monotonic_ns()

    return plain, asynchronous


def _sleep(seconds: float) -> tuple[Callable[[int], None], Callable[[int], Coroutine[Any, Any, None]]]:
    seen = _place("seen", COUNT)

    def plain(number: int) -> None:
        time.sleep(seconds)
        seen[number] += 1

    async def asynchronous(number: int) -> None:
        await asyncio.sleep(seconds)
        seen[number] += 1

    return plain, asynchronous


def _chosen() -> tuple[Callable[[int], None], Callable[[int], Coroutine[Any, Any, None]]]:
    kind, _, milliseconds = os.environ.get("BENCH_JOB", "noop").partition(":")
    match kind:
        case "noop":
            return _noop()
        case "stamp":
            return _stamp()
        case "sleep":
            return _sleep(float(milliseconds) / 1000)
        case _:
            raise ValueError(f"BENCH_JOB is {kind!r}; it is noop, stamp or sleep:MILLISECONDS")


plain_work, async_work = _chosen()
for _function in (plain_work, async_work):
    _function.__name__ = _function.__qualname__ = "work"

"""What the Python contestants' producers have in common: the modes and the clock.

``bulk`` enqueues the numbers from 0 on by the fastest way that the library has, ``single`` one by one, ``spaced`` one
by one with irregular pauses, noting when each call began. The last line printed is JSON with the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from array import array
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

PORT = int(os.environ.get("BENCH_REDIS_PORT", "6379"))
URL = f"redis://127.0.0.1:{PORT}/0"
COUNT = int(os.environ.get("BENCH_COUNT", "1"))
SHORTEST, LONGEST = (float(part) for part in os.environ.get("BENCH_GAPS", "0.01:0.05").split(":"))


def gaps() -> Iterable[float]:
    """The pauses, in seconds; the same for every contestant."""
    chance = random.Random(int(os.environ.get("BENCH_SEED", "1")))
    return [chance.uniform(SHORTEST, LONGEST) for _ in range(COUNT)]


def produce(one: Callable[[int], object], bulk: Callable[[range], object] | None = None) -> None:
    """Do what the first argument asks for, with plain functions."""
    _run(sys.argv[1], one, bulk)


def produce_async(
    one: Callable[[int], Coroutine[Any, Any, object]],
    bulk: Callable[[range], Coroutine[Any, Any, object]] | None = None,
    opening: Callable[[], Coroutine[Any, Any, object]] | None = None,
) -> None:
    """Do what the first argument asks for, with coroutine functions, all in one event loop."""
    try:
        import uvloop  # noqa: PLC0415  # only where the contestant brings it
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    if opening is not None:
        loop.run_until_complete(opening())
    mode = sys.argv[1]
    if mode == "single":
        loop.run_until_complete(_singly(one))
        return
    _run(
        mode,
        lambda number: loop.run_until_complete(one(number)),
        None if bulk is None else lambda numbers: loop.run_until_complete(bulk(numbers)),
    )


async def _singly(one: Callable[[int], Coroutine[Any, Any, object]]) -> None:
    await one(0)
    began = time.perf_counter()
    for number in range(1, COUNT):
        await one(number)
    _say(time.perf_counter() - began, COUNT - 1)


def _run(mode: str, one: Callable[[int], object], bulk: Callable[[range], object] | None) -> None:
    if mode == "spaced":
        _spaced(one)
        return
    numbers = range(COUNT)
    if mode == "bulk" and bulk is not None:
        began = time.perf_counter()
        bulk(numbers)
        _say(time.perf_counter() - began, COUNT)
        return
    one(0)  # the connection is made
    began = time.perf_counter()
    for number in numbers[1:]:
        one(number)
    _say(time.perf_counter() - began, COUNT - 1)


def _spaced(one: Callable[[int], object]) -> None:
    sent = array("q", [0]) * COUNT
    began = time.perf_counter()
    for number, gap in enumerate(gaps()):
        time.sleep(gap)
        sent[number] = time.monotonic_ns()
        one(number)
    (Path(os.environ["BENCH_FOLDER"]) / "sent").write_bytes(sent.tobytes())
    _say(time.perf_counter() - began, COUNT)


def _say(seconds: float, jobs: int) -> None:
    print(json.dumps({"seconds": seconds, "jobs": jobs}))

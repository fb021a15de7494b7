"""BullMQ for Python; without arguments beyond the mode it enqueues, with ``work`` it is the worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import uvloop
from bullmq import Queue, Worker
from effects import async_work
from producing import URL, produce_async

_AT_ONCE = 1000
_opened: list[Queue] = []


async def _process(job: Any, _token: str) -> None:
    await async_work(job.data)


async def _work() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    concurrency = int(os.environ.get("BENCH_CONCURRENCY", "50"))
    Worker("bench", _process, {"connection": URL, "concurrency": concurrency, "removeOnComplete": {"count": 0}})
    await ended.wait()


async def _open() -> None:
    _opened.append(Queue("bench", {"connection": URL}))


async def _one(number: int) -> None:
    await _opened[0].add("work", number)


async def _bulk(numbers: range) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        chunk = numbers[start : start + _AT_ONCE]
        await _opened[0].addBulk([{"name": "work", "data": number} for number in chunk])


if __name__ == "__main__":
    if sys.argv[1] == "work":
        uvloop.run(_work())
    else:
        produce_async(_one, _bulk, _open)

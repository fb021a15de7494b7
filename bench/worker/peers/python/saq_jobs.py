"""SAQ on Redis, with the faster event loop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import uvloop
from effects import async_work
from producing import URL, produce_async
from saq import Queue

queue = Queue.from_url(URL, name="bench")
_AT_ONCE = 100


async def work(_context: Any, *, number: int) -> None:
    """The job, with the context that SAQ passes."""
    await async_work(number)


async def _one(number: int) -> None:
    await queue.enqueue("work", number=number, ttl=-1)


async def _bulk(numbers: range) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        await asyncio.gather(*map(_one, numbers[start : start + _AT_ONCE]))


asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
settings = {"queue": queue, "functions": [work], "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "100"))}

if __name__ == "__main__":
    produce_async(_one, _bulk, queue.connect)

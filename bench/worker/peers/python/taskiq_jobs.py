"""taskiq on a Redis stream (acknowledged after the job) or a list (``BENCH_KIND=list``: gone when taken)."""

from __future__ import annotations

import asyncio
import os

from effects import async_work
from producing import URL, produce_async
from taskiq_redis import ListQueueBroker, RedisStreamBroker

broker = ListQueueBroker(URL) if os.environ.get("BENCH_KIND") == "list" else RedisStreamBroker(URL)
work = broker.task("work")(async_work)
_AT_ONCE = 100


async def _bulk(numbers: range) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        await asyncio.gather(*(work.kiq(number) for number in numbers[start : start + _AT_ONCE]))


if __name__ == "__main__":
    produce_async(work.kiq, _bulk, broker.startup)

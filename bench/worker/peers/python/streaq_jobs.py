"""streaQ on Redis streams, with the faster event loop; results kept as briefly as it can."""

from __future__ import annotations

import os

from effects import async_work
from producing import URL, produce_async
from streaq import Worker

worker: Worker[None] = Worker(
    redis_url=URL,
    concurrency=int(os.environ.get("BENCH_CONCURRENCY", "50")),
    queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)
work = worker.task(name="work", silent=True, ttl=0)(async_work)
_AT_ONCE = 500


async def _open() -> None:
    await worker.__aenter__()


async def _one(number: int) -> None:
    await work.enqueue(number)


async def _bulk(numbers: range) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        await worker.enqueue_many([work.enqueue(number) for number in numbers[start : start + _AT_ONCE]])


if __name__ == "__main__":
    produce_async(_one, _bulk, _open)

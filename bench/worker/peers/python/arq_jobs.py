"""arq, tuned: a queue that is looked at every 10 ms instead of every 500 ms, no results kept, no logs of jobs."""

from __future__ import annotations

import os
from typing import Any

import arq
from arq.connections import ArqRedis, RedisSettings
from arq.worker import func
from effects import async_work
from producing import PORT, produce_async

LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
SETTINGS = RedisSettings(port=PORT)
_opened: list[ArqRedis] = []


async def work(_context: dict[Any, Any], number: int) -> None:
    """The job, with the context that arq passes."""
    await async_work(number)


class Worker:
    """Settings of the worker, as arq reads them."""

    functions = (func(work, name="work", keep_result=0),)
    redis_settings = SETTINGS
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "100"))
    queue_read_limit = 2 * max_jobs
    poll_delay = 0.01
    log_results = False


async def _open() -> None:
    _opened.append(await arq.create_pool(SETTINGS))


async def _one(number: int) -> None:
    await _opened[0].enqueue_job("work", number)


if __name__ == "__main__":
    produce_async(_one, None, _open)

"""jobworker: one async or plain job, as a user would write it. Run by ``jobworker run ours:app``.

Two modes of its producer are its own: ``floor`` times enqueueing against the bare client, block by block, and
``foreign`` pushes as a program without this library does, at irregular times.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import redis
from effects import async_work, plain_work
from producing import COUNT, URL, produce

from jobworker import App

app = App(URL)
work = app.job(plain_work if os.environ.get("BENCH_KIND") == "threads" else async_work)
_BLOCK = 500


def _bulk(numbers: range) -> None:
    work.enqueue_many_sync((number,) for number in numbers)


def _foreign(number: int) -> None:
    with bare.pipeline(transaction=True) as pipe:  # as Sidekiq's own client does
        pipe.sadd("queues", "default")
        job = {"class": "work", "args": [number], "retry": True, "queue": "default", "jid": f"{number:024x}"}
        pipe.lpush("queue:default", json.dumps(job | {"created_at": time.time(), "enqueued_at": time.time()}))
        pipe.execute()


def _floor() -> None:
    work.enqueue_sync(0)
    payload = bare.lindex("queue:default", 0) or b""
    ratios = []
    for _ in range(COUNT // _BLOCK):
        ours = _seconds(lambda: work.enqueue_sync(1))
        floor = _seconds(lambda: bare.lpush("queue:floor", payload))
        ratios.append(floor / ours)
    print(json.dumps({"jobs": 0, "seconds": 0, "ratios": ratios}))


def _seconds(one: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_BLOCK):
        one()
    return time.perf_counter() - began


if __name__ == "__main__":
    bare = redis.Redis.from_url(URL, protocol=3)
    match sys.argv[1]:
        case "floor":
            _floor()
        case "foreign":
            sys.argv[1] = "spaced"
            produce(_foreign)
        case _:
            produce(work.enqueue_sync, _bulk)

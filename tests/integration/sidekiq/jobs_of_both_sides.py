"""The Python side of ``ruby/jobs.rb``: the same names, traces under ``:python``."""

from __future__ import annotations

import os
import time

import redis

from jobworker import App, IteratingJob, list_items

app = App()
traces = redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"])


def trace(name: str, key: str) -> None:
    traces.hincrby(f"test:{name}:python", key, 1)


@app.job(name="Count")
def count(side: str, number: int) -> None:
    trace("counted", f"{side}:{number}")


@app.job(name="Gated")
def gated(name: str) -> None:
    trace("started", name)
    while not traces.exists(f"test:gate:{name}"):
        time.sleep(0.02)
    trace("done", name)


@app.job(name="FailsOn", retry=5)
def fails_on(side: str, name: str) -> None:
    trace("tried", name)
    if side == "python":
        raise ValueError("Python fails")
    trace("done", name)


@app.job(name="DiesAtOnce", retry=0)
def dies_at_once(name: str) -> None:
    raise ValueError(f"Python buries {name}")


@app.job
class Items(IteratingJob):
    """Sidekiq's iterable jobs of an array: the cursor is the index of the next element."""

    def build_enumerator(self, name: str, number: int, *, cursor: int | None) -> list_items[int]:  # noqa: ARG002  # it gets the job's arguments
        return list_items(range(number), cursor)

    def each_iteration(self, item: int, name: str, number: int) -> None:  # noqa: ARG002  # each item gets the job's arguments
        trace(f"items {name}", str(item))

    def on_cancel(self) -> None:
        trace("cancelled", "once")

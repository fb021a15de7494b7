"""Jobs for workers that are killed: what they did lies in Redis, where a death cannot take it away."""

from __future__ import annotations

import os
import time
from typing import Any

import redis

from jobworker import App, IteratingJob, ParallelJob, context, list_items, number_range, split_range

effects = redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"])
app = App()


@app.job
class Sum(ParallelJob):
    """Each number of each slice, and the join behind all of them."""

    checkpoint_seconds = 0.05

    def split(self, stop: int, parts: int) -> Any:
        return split_range(0, stop, parts)

    def build_enumerator(self, stop: int, parts: int, *, cursor: int | None) -> number_range:  # noqa: ARG002
        first, last = self.slice
        return number_range(first, last, cursor)

    def each_iteration(self, number: int, stop: int, parts: int) -> None:  # noqa: ARG002  # the job's arguments
        effects.hincrby(f"test:rows:{context().jid.partition('s')[0]}", str(number), 1)
        time.sleep(0.005)

    def on_joined(self, stop: int, parts: int) -> None:  # noqa: ARG002  # as above
        jid = context().jid
        if effects.hlen(f"test:rows:{jid}") != stop:
            effects.sadd("test:early", jid)
        effects.hincrby("test:joined", jid, 1)
        time.sleep(0.05)


@app.job
class Once(IteratingJob):
    """Pages of ids whose effect must not repeat; no checkpoint comes between them."""

    checkpoint_seconds = 3600.0

    def build_enumerator(self, ids: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(0, ids, 50), cursor)

    def each_iteration(self, first: int, ids: int) -> None:  # noqa: ARG002  # as above
        for each in self.progress.not_done_sync("user", range(first, first + 50)):
            effects.hincrby("test:once", str(each), 1)
            self.progress.done_now_sync("user", each)
            time.sleep(0.003)

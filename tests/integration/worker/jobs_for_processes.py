"""An application whose jobs tell in which process they run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import redis

from jobworker import App, IteratingJob, list_items

if os.environ.get("TEST_CHILDREN_FAIL"):
    os.register_at_fork(after_in_child=lambda: os._exit(7))

app = App()
traces = redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"])
loaded = {number: str(number) * 20 for number in range(int(os.environ.get("TEST_PRELOADED", "0")))}


@app.job
def gated(name: str, mib: int = 0) -> None:
    """Takes some memory, and runs until somebody opens its gate."""
    memory = bytearray(os.urandom(1 << 20)) * mib
    traces.hset("test:pids", name, os.getpid())
    traces.hincrby("test:started", name, 1)
    while not traces.exists(f"test:gate:{name}"):
        time.sleep(0.02)
    traces.hincrby("test:done", name, 1)
    del memory


@app.job
def until_file(path: str) -> None:
    """Runs until a file appears: Redis is not needed for it."""
    with Path(f"{path}.started").open("a") as started:
        started.write("once ")
    while not Path(path).exists():
        time.sleep(0.02)
    Path(f"{path}.done").touch()


@app.job
class Steps(IteratingJob):
    """Walks for minutes, and tells of each item and of each callback."""

    checkpoint_seconds = 3600.0

    def build_enumerator(self, name: str, *, cursor: int | None) -> list_items[int]:  # noqa: ARG002  # each gets the arguments
        return list_items(range(100_000), cursor)

    def each_iteration(self, item: int, name: str) -> None:
        traces.rpush(f"test:items:{name}", item)
        time.sleep(0.002)

    def on_cancel(self) -> None:
        traces.hincrby("test:callbacks", "cancel", 1)

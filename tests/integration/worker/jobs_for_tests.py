"""An application whose jobs leave traces in Redis: how often each did its work, and which run now."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from jobworker import App, DeadJob, IteratingJob, context, csv_rows, list_items

app = App()
traces = redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"])


def leave_trace(name: str, key: str) -> None:
    traces.hincrby(f"test:{name}", key, 1)


@app.job
async def count_async(number: int) -> None:
    leave_trace("async", str(number))


@app.job
async def note_time(name: str) -> None:
    """When it ran, in epoch seconds."""
    traces.hset("test:times", name, repr(time.time()))


@app.job
def count_plain(number: int) -> None:
    leave_trace("plain", str(number))


def wait_for_gate(name: str) -> None:
    leave_trace("started", name)
    while not traces.exists(f"test:gate:{name}"):
        time.sleep(0.02)
    leave_trace("done", name)


@app.job
def gated(name: str) -> None:
    """Runs until somebody opens its gate, whatever the worker wants."""
    wait_for_gate(name)


@app.job(retry=2)
def fails_once(name: str) -> None:
    leave_trace("started", name)
    if context().attempt == 1:
        raise ValueError("the first try fails")
    leave_trace("done", name)


class Rows(IteratingJob):
    """One trace a row; row 7 and every hundredth have errors."""

    checkpoint_seconds = 0.5
    on_error = "record"

    def build_enumerator(self, path: str, *, cursor: Sequence[int] | None) -> csv_rows:
        return csv_rows(path, cursor, count=True)

    def each_iteration(self, row: dict[str, str], path: str) -> None:  # noqa: ARG002  # each item gets the job's arguments
        leave_trace("rows", row["id"])
        time.sleep(0.005)
        if row["id"] == "7":
            self.progress.error("no name", "no age")
        if row["id"].endswith("00"):
            raise ValueError("round number")


class AsyncItems(IteratingJob):
    """One trace an item, on the event loop; a gate at an item holds it there."""

    def build_enumerator(self, number: int, hold_at: int, *, cursor: int | None) -> list_items[int]:  # noqa: ARG002  # as above
        return list_items(range(number), cursor)

    async def each_iteration(self, item: int, number: int, hold_at: int) -> None:  # noqa: ARG002  # as above
        if item == hold_at:
            traces.hincrby("test:started", "held", 1)
            while not traces.exists("test:gate:held"):  # noqa: ASYNC110  # another process opens it
                await asyncio.sleep(0.02)
        leave_trace("items", str(item))

    def on_start(self) -> None:
        leave_trace("callbacks", "start")

    async def on_resume(self) -> None:
        leave_trace("callbacks", "resume")

    def on_stop(self) -> None:
        leave_trace("callbacks", "stop")

    def on_complete(self) -> None:
        leave_trace("callbacks", "complete")


class Deployed(IteratingJob):
    """One trace an item, slowly until its gate is open."""

    def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(number), cursor)

    def each_iteration(self, item: int, number: int) -> Any:  # noqa: ARG002  # as above
        leave_trace("items", str(item))
        if not traces.exists("test:gate:fast"):
            time.sleep(0.02)

    def on_resume(self) -> None:
        leave_trace("callbacks", "resume")


class DeployedAsync(Deployed):
    """The same on the event loop."""

    async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # as above
        leave_trace("items", str(item))
        if not traces.exists("test:gate:fast"):
            await asyncio.sleep(0.02)


rows = app.job(Rows)
deployed, deployed_async = app.job(Deployed), app.job(DeployedAsync)
async_items = app.job(AsyncItems)


@app.job
async def blocks_until_file(path: str) -> None:
    """Bad code: never awaits, so nothing else on the event loop goes on."""
    until_file(path)


@app.job
def until_file(path: str) -> None:
    """Runs until a file appears: its gate does not depend on Redis."""
    with Path(f"{path}.started").open("a") as started:
        started.write("once ")
    while not Path(path).exists():
        time.sleep(0.02)
    Path(f"{path}.done").touch()


def note_death(dead: DeadJob) -> None:
    leave_trace("deaths", f"{dead.error_class} {dead.args[0]}")


@app.job(retries_exhausted=note_death)
def kills_its_worker(number: int) -> None:  # what its death handler tells
    os.kill(os.getpid(), signal.SIGKILL)

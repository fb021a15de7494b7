"""The application of the chaos run: jobs of all kinds, each of which notes what it did.

``key`` is the producer's own number of a job. A push that is made again because its answer was lost has the same key
and another jid, so both can be told apart.
"""

from __future__ import annotations

import asyncio
import time

from jobworker import App, IteratingJob, context, list_items
from tests.chaos.records import Own

app = App()
own = Own()

FLUSH_SECONDS = 1.0
"""What a SIGKILL may repeat of an iterating job; also the worker's own time to the first checkpoint of a run."""


class Deliberate(Exception):
    """A failure that the run wants."""


def note(event: str, key: str, **fields: object) -> None:
    here = context()
    own.note(event, key=key, jid=here.jid, attempt=here.attempt, **fields)


@app.job(queue="quick")
async def quick_async(key: str) -> None:
    note("start", key)
    note("done", key)


@app.job(queue="quick")
def quick_plain(key: str) -> None:
    note("start", key)
    note("done", key)


@app.job(queue="slow")
async def slow_async(key: str, seconds: float) -> None:
    note("start", key)
    await asyncio.sleep(seconds)
    note("done", key)


@app.job(queue="slow")
def slow_plain(key: str, seconds: float) -> None:
    note("start", key)
    time.sleep(seconds)
    note("done", key)


@app.job(queue="long")
async def long_async(key: str, seconds: float) -> None:
    """Only workers that are harmed seldom take these."""
    note("start", key)
    await asyncio.sleep(seconds)
    note("done", key)


@app.job(queue="quick")
async def retrying(key: str, failures: int) -> None:
    note("start", key)
    if context().attempt <= failures:
        note("fail", key)
        raise Deliberate
    note("done", key)


@app.job(queue="quick", retry=0)
def doomed(key: str) -> None:
    note("start", key)
    note("fail", key, last="dead")
    raise Deliberate


@app.job(queue="quick", retry=False)
async def dropped(key: str) -> None:
    note("start", key)
    note("fail", key, last="dropped")
    raise Deliberate


class Walk(IteratingJob):
    """Items on the event loop. An item in the middle may raise at the first attempt."""

    checkpoint_seconds = FLUSH_SECONDS

    def build_enumerator(self, key: str, items: int, failing: int, *, cursor: int | None) -> list_items[int]:  # noqa: ARG002  # as each item
        note("walk", key, at=cursor or 0, of=items)
        return list_items(range(items), cursor)

    async def each_iteration(self, item: int, key: str, items: int, failing: int) -> None:  # noqa: ARG002  # as above
        await asyncio.sleep(0.02)
        stumble(item, key, failing)
        note("item", key, item=item)

    async def on_complete(self) -> None:
        own.note("complete", jid=context().jid)


class PlainWalk(Walk):
    """Items in a thread."""

    # Plain, unlike the one that it overrides: the worker asks which of both it is.
    def each_iteration(self, item: int, key: str, items: int, failing: int) -> None:  # type: ignore[override]  # noqa: ARG002
        time.sleep(0.02)
        stumble(item, key, failing)
        note("item", key, item=item)


def stumble(item: int, key: str, failing: int) -> None:
    if item == failing and context().attempt == 1:
        note("fail", key, item=item)
        raise Deliberate


app.job(queue="items")(Walk)
app.job(queue="items")(PlainWalk)

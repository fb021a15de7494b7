"""`jobworker top`: queues, workers and rates, live."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterator

import click
from redis.asyncio import Redis
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobworker.cli import queues
from jobworker.cli.options import Place, on_redis
from jobworker.cli.screen import arguments, console, duration, job_name, table, text
from jobworker.cli.workers import name_of, rows_of, state_of
from jobworker.protocol.inspection import Overview, WorkerReport, overview
from jobworker.protocol.keys import Keys
from jobworker.runtime.link import AWAY, in_words

_WINDOW_SECONDS = 10.0  # over which rates are taken
_ONCE_SECONDS = 1.0  # between the two looks that a rate needs


@click.command()
@click.option("--once", is_flag=True, help="Print one frame, with rates of a second, and end.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="SECONDS")
@on_redis
def top(place: Place, once: bool, every: float) -> None:  # noqa: FBT001  # a flag
    """Watch queues, workers, rates and the oldest job; q or Ctrl-C ends it."""
    if once:
        history = History()

        async def two_looks(redis: Redis, keys: Keys) -> None:
            history.add(time.monotonic(), await overview(redis, keys))
            await asyncio.sleep(_ONCE_SECONDS)
            history.add(time.monotonic(), await overview(redis, keys))

        place.ask(two_looks)
        console().print(frame(history))
        return
    if not sys.stdout.isatty():
        raise click.UsageError("top draws on a terminal, and this is none; --once prints one frame")
    with contextlib.suppress(KeyboardInterrupt):
        place.ask(lambda redis, keys: _live(redis, keys, every))


class History:
    """What was seen in the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Overview]] = deque()
        self.problem = ""

    def add(self, at: float, seen: Overview) -> None:
        """Keep it, and forget what is too old for a rate."""
        self._seen.append((at, seen))
        while len(self._seen) > 2 and at - self._seen[0][0] > _WINDOW_SECONDS:  # noqa: PLR2004  # a rate needs two
            self._seen.popleft()
        self.problem = ""

    @property
    def last(self) -> Overview | None:
        """The newest."""
        return self._seen[-1][1] if self._seen else None

    def rates(self) -> tuple[float, float] | None:
        """Jobs processed and failed in a second; None as long as nobody knows."""
        if len(self._seen) < 2:  # noqa: PLR2004  # a rate needs two
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        seconds = max(ended - began, 0.001)
        return (
            max(0, last.stats.processed - first.stats.processed) / seconds,
            max(0, last.stats.failed - first.stats.failed) / seconds,
        )

    def depth_before(self, queue: str) -> int | None:
        """How deep the queue was at the beginning of the window."""
        depths = (q.depth.depth for q in self._seen[0][1].queues if q.depth.name == queue)
        return next(depths, None) if len(self._seen) > 1 else None


def frame(history: History) -> RenderableType:
    """One picture of it."""
    seen = history.last
    if seen is None:
        return text(history.problem or "looking…")
    parts: list[RenderableType] = [_head(history, seen)]
    if history.problem:
        parts.append(text(history.problem, "red"))
    parts += [Text(), _queues(history, seen), Text(), _workers(seen.workers)]
    return Group(*parts)


def _head(history: History, seen: Overview) -> Table:
    rates = history.rates()
    processed, failed = ("-", "-") if rates is None else (f"{rates[0]:,.1f}/s", f"{rates[1]:,.1f}/s")
    stats = seen.stats
    busy, room = stats.running, sum(w.activity.concurrency for w in seen.workers if w.activity.alive)
    names = ("processed", "failed", "running", "waiting", "oldest", "paused", "scheduled", "retry", "dead")
    rows = table(*names, numbers=names)
    rows.add_row(
        processed, failed, f"{busy:,} of {room:,}", f"{stats.enqueued:,}",
        duration(stats.oldest_seconds) if stats.enqueued else "-",
        f"{stats.paused:,}", f"{stats.scheduled:,}", f"{stats.retry:,}", f"{stats.dead:,}",
    )  # fmt: skip
    return rows


def _queues(history: History, seen: Overview) -> Table:
    rows = table("queue", "depth", "change", "oldest", "running", "workers", "state",
                 numbers=("depth", "change", "running", "workers"))  # fmt: skip
    for queue in seen.queues:
        before = history.depth_before(queue.depth.name)
        change = 0 if before is None else queue.depth.depth - before
        rows.add_row(
            text(queue.depth.name),
            f"{queue.depth.depth:,}",
            f"{change:+,}" if change else "",
            duration(queue.depth.latency_seconds) if queue.depth.depth else "-",
            f"{queue.running:,}",
            f"{queue.workers:,}",
            queues.state_of(queue),
        )
    return rows


def _workers(found: tuple[WorkerReport, ...]) -> Table:
    rows = table("worker", "state", "jobs", "memory", "oldest job", "", "rows", numbers=("jobs", "memory", "rows"))
    now = time.time()
    for worker in sorted(found, key=lambda w: (-len(w.jobs), name_of(w))):
        oldest = worker.jobs[0] if worker.jobs else None
        rows.add_row(
            text(name_of(worker)),
            state_of(worker),
            f"{len(worker.jobs)}/{worker.activity.concurrency}",
            "-" if worker.rss_kb is None else f"{worker.rss_kb // 1024} MiB",
            "" if oldest is None else duration(max(0.0, now - oldest.taken_at)),
            "" if oldest is None else Text(" ").join([job_name(oldest.found), arguments(oldest.found)]),
            "" if oldest is None else rows_of(oldest),
        )
    return rows


async def _live(redis: Redis, keys: Keys, every: float) -> None:
    history, ended = History(), asyncio.Event()
    history.add(time.monotonic(), await overview(redis, keys))  # a Redis that is away from the start ends it
    with _keys(ended), Live(get_renderable=lambda: _screen(history), screen=True, refresh_per_second=2):
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await ended.wait()
            try:
                history.add(time.monotonic(), await overview(redis, keys))
            except AWAY as error:
                history.problem = f"this is what was seen last: Redis {in_words(error)}"


def _screen(history: History) -> RenderableType:
    return Group(frame(history), Text(), text("q ends", "dim"))


@contextlib.contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """Set ``ended`` when q is typed, without Enter; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415  # not on every system, and only a terminal needs it
    import tty  # noqa: PLC0415  # the same

    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def typed() -> None:
        if os.read(descriptor, 1) in {b"q", b"Q", b""}:
            ended.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, typed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

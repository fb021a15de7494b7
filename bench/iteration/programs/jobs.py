"""The jobs of the bench, as a user would write them: ``jobworker run bench.iteration.programs.jobs:app``.

Their one argument is a task: what to walk over, and the file into which the run tells what it took. Names of jobs say
what is done with an item, in which kind of function, and how often a checkpoint is written: see `variant`.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from bench.iteration.programs.telling import Clock, Stamps, resident_mib
from bench.iteration.programs.walks import enumerator, plain
from bench.iteration.variants import BODIES, PACES, Kind, Pace, loop, variant
from jobworker import App, IteratingJob

app = App(f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}/0")
Task = dict[str, Any]
_MILLISECOND = 0.001
_PARTS = 20  # of a long walk, after each of which its memory is looked at


def _nothing(_job: Any, _item: Any, _task: Task) -> None:
    pass


def _spin(_job: Any, _item: Any, _task: Task) -> None:
    """One millisecond of CPU of this thread, whatever else the machine does meanwhile."""
    end = time.thread_time() + _MILLISECOND
    while time.thread_time() < end:
        pass


def _sleep(_job: Any, _item: Any, _task: Task) -> None:
    time.sleep(_MILLISECOND)


async def _nothing_async(_job: Any, _item: Any, _task: Task) -> None:
    pass


async def _spin_async(_job: Any, _item: Any, _task: Task) -> None:
    _spin(_job, _item, _task)
    await asyncio.sleep(0)  # the worker's own tasks go on in this loop, whatever kind of job it is


async def _sleep_async(_job: Any, _item: Any, _task: Task) -> None:
    await asyncio.sleep(_MILLISECOND)


_PLAIN = {"nothing": _nothing, "spin": _spin, "sleep": _sleep}
_ASYNC = {"nothing": _nothing_async, "spin": _spin_async, "sleep": _sleep_async}


class _Walking(IteratingJob):
    def build_enumerator(self, task: Task, *, cursor: Any) -> Any:
        self._clock = Clock(task)
        return enumerator(task["kind"], task["place"], cursor)

    def on_complete(self) -> None:
        self._clock.tell(self.progress.processed)


def _define_loops(body: str) -> None:
    work, work_async = _PLAIN[body], _ASYNC[body]

    def walk(task: Task) -> None:
        clock, rows = Clock(task), 0
        with plain(task["kind"], task["place"]) as source:
            for item in source:
                work(None, item, task)
                rows += 1
        clock.tell(rows)

    async def walk_async(task: Task) -> None:
        clock, rows = Clock(task), 0
        with plain(task["kind"], task["place"]) as source:
            for item in source:
                await work_async(None, item, task)
                rows += 1
        clock.tell(rows)

    app.job(name=loop(body, Kind.PLAIN), retry=False)(walk)
    app.job(name=loop(body, Kind.ASYNC), retry=False)(walk_async)


def _define(body: str, pace: Pace) -> None:
    seconds = PACES[pace]
    options = {} if seconds is None else {"checkpoint_seconds": seconds}
    for kind, each in ((Kind.PLAIN, _PLAIN[body]), (Kind.ASYNC, _ASYNC[body])):
        members = {**options, "each_iteration": each}
        app.job(retry=False)(type(variant(body, kind, pace), (_Walking,), members))


for _body in BODIES:
    _define_loops(_body)
    for _pace in Pace:
        _define(_body, _pace)


@app.job(retry=False)
class Relay(IteratingJob):
    """Begins at a place far behind the beginning, and stamps each item, so that the gap of a handover is seen."""

    def build_enumerator(self, task: Task, *, cursor: Any) -> Any:
        """From the task's cursor on."""
        self._stamps = Stamps(task)
        return enumerator(task["kind"], task["place"], cursor or task["cursor"])

    def each_iteration(self, _item: Any, _task: Task) -> None:
        """A millisecond."""
        self._stamps.add(self.progress.processed)
        time.sleep(_MILLISECOND)


@app.job(retry=False)
class Remember(IteratingJob):
    """A long walk with all of progress on: each row's id is noted as done, and one in a thousand has an error."""

    def build_enumerator(self, task: Task, *, cursor: Any) -> Any:
        """All rows."""
        self._clock = Clock(task)
        self._resident = [resident_mib()]
        self._part = max(1, task["rows"] // _PARTS)
        return enumerator(task["kind"], task["place"], cursor)

    def each_iteration(self, item: dict[str, str], _task: Task) -> None:
        """Note it."""
        self.progress.done("user", int(item["id"]))
        row = self.progress.row
        if row % 1_000 == 0:
            self.progress.error("the address cannot be reached", f"and this is row {row}")
        if row % self._part == 0:
            self._resident.append(resident_mib())

    def on_complete(self) -> None:
        """Tell of it."""
        self._clock.tell(self.progress.processed, resident_mib=self._resident)

"""How long it takes to go on far behind the beginning: the first item by itself, and a whole handover."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.iteration.measures.rows import task_of
from bench.iteration.rig import Rig
from bench.iteration.sources import FIRST, Sources, cursor_at
from bench.worker.processes import Started
from bench.worker.rig import RoundFailed, until

_FIRST_SECONDS = 60.0
_ITEMS = 200  # that a holder of the relay works on before it has to hand over


@dataclass(frozen=True, slots=True)
class Stamp:
    """An item began in a process; the clock is that of the whole machine."""

    nanoseconds: int
    pid: int
    item: int


def task_at(kind: str, place: Any, row: int) -> dict[str, Any]:
    """What a walk is told that has done so many rows."""
    return {"kind": kind, "place": place, "cursor": cursor_at(kind, row), "expected": FIRST + row}


def first_items(rig: Rig, tasks: Sequence[dict[str, Any]]) -> list[float]:
    """One round: ms from build_enumerator to the first item, of each task, in a new process.

    Raises:
        RoundFailed: an item was not the one behind the cursor.
    """
    return [float(took) for took in rig.call("resume", list(tasks))]


def handovers(rig: Rig, sources: Sources, row: int, count: int) -> list[float]:
    """Ms from SIGTERM of the worker that holds a job to the job's first item on the next one, so many times.

    Raises:
        RoundFailed: nobody went on, or an item was repeated or left out.
    """
    rig.server.empty()  # who was killed in an earlier round is no worker of this one
    took: list[float] = []
    task = task_of("csv", sources) | {"cursor": cursor_at("csv", row)}
    with ExitStack() as workers:
        holder = workers.enter_context(rig.worker())
        told = rig.enqueue("Relay", task)
        seen = _items(told, holder, 0, _ITEMS)
        for _ in range(count):
            heir = workers.enter_context(rig.worker())
            rig.wait_for_workers(2)
            began = time.monotonic_ns()
            os.kill(seen[-1].pid, signal.SIGTERM)
            seen = _items(told, heir, seen[-1].pid, _ITEMS)
            first = next(stamp for stamp in seen if stamp.nanoseconds > began and stamp.pid == seen[-1].pid)
            took.append((first.nanoseconds - began) / 1e6)
            until(holder.ended, _FIRST_SECONDS)
            rig.wait_for_workers(1)
            holder = heir
    items = [stamp.item for stamp in seen]
    if items != list(range(len(items))):
        raise RoundFailed("an item was repeated or left out in a clean handover")
    return took


def _items(told: Path, worker: Started, before: int, enough: int) -> list[Stamp]:
    """All stamps, once there are enough of the process that holds the job now, which is not the one before."""

    def there() -> bool:
        found = _stamps(told)
        return bool(found) and found[-1].pid != before and sum(one.pid == found[-1].pid for one in found) >= enough

    if not until(lambda: there() or worker.ended(), _FIRST_SECONDS) or worker.ended():
        raise RoundFailed(f"nobody went on with the job: {worker.last_words()}")
    return _stamps(told)


def _stamps(told: Path) -> list[Stamp]:
    lines = told.read_text().split("\n")[:-1] if told.exists() else []  # the last line may be half written
    return [Stamp(*map(int, line.split())) for line in lines]

"""Rows a second of a real worker's job that does nothing with a row, beside a plain loop and Sidekiq."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.iteration.rig import SIDEKIQ_QUEUE, Rig, Told
from bench.iteration.sources import Sources
from bench.iteration.variants import Kind, variant
from bench.worker.processes import Started

KINDS = ("list", "range", "csv", "json", "sql")
ON_SIDEKIQ = ("range", "csv", "json")
"""What a job of Sidekiq can walk over here: a list would have to travel, and Debian's Ruby brings no SQLite."""

_TIMES = 10  # as many of what costs next to nothing


@dataclass(frozen=True, slots=True)
class Rows:
    """One round over one source."""

    loop: Told
    plain: Told
    asynchronous: Told
    sidekiq: Told | None


def task_of(kind: str, sources: Sources) -> dict[str, Any]:
    """What a walk over all of a source is told."""
    places: Mapping[str, Callable[[], Any]] = {
        "csv": lambda: str(sources.csv()),
        "json": lambda: str(sources.json()),
        "sql": lambda: f"sqlite:///{sources.sqlite()}",
    }
    if kind not in places:
        count = sources.rows * _TIMES  # else the loop is over before a clock has seen it
        return {"kind": kind, "place": count, "rows": count}
    return {"kind": kind, "place": places[kind](), "rows": sources.rows}


def rows(rig: Rig, worker: Started, sidekiq: Started | None, kind: str, sources: Sources) -> Rows:
    """One round: one after the other.

    Raises:
        RoundFailed: one of them did not see all rows.
    """
    task = task_of(kind, sources)
    peer = None
    if sidekiq is not None and kind in ON_SIDEKIQ:
        peer = rig.run(sidekiq, "Walk", task, queue=SIDEKIQ_QUEUE)
    return Rows(
        loop=rig.loop(task),
        plain=rig.run(worker, variant("nothing", Kind.PLAIN), task),
        asynchronous=rig.run(worker, variant("nothing", Kind.ASYNC), task),
        sidekiq=peer,
    )

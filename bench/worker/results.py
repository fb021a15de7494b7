"""What a run has found: samples by contestant and round, with None where a round failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bench.worker.contestants import Contestant
from bench.worker.measures.drain import Drained
from bench.worker.measures.idle import Idle

T = TypeVar("T")
ByName = dict[str, list[T]]


@dataclass(slots=True)
class Results:
    """Everything, by what was measured.

    ``drain`` to ``io_10ms`` are of full queues, ``singly`` is jobs a second, ``start`` and ``foreign`` are ms of all
    jobs, ``floor`` is ours in units of the bare client. ``missing`` says by title why somebody could not take part,
    ``failed`` which rounds gave nothing.
    """

    contestants: list[Contestant] = field(default_factory=list)
    drain: ByName[Drained | None] = field(default_factory=dict)
    two: ByName[Drained | None] = field(default_factory=dict)
    io_1ms: ByName[Drained | None] = field(default_factory=dict)
    io_10ms: ByName[Drained | None] = field(default_factory=dict)
    singly: ByName[float | None] = field(default_factory=dict)
    floor: list[float] = field(default_factory=list)
    start: ByName[float] = field(default_factory=dict)
    foreign: list[float] = field(default_factory=list)
    idle: ByName[Idle | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def medians(rounds: list[T | None], figure: Callable[[T], float]) -> list[float]:
    """One figure of all rounds that gave one."""
    return [figure(one) for one in rounds if one is not None]

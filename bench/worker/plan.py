"""How much is measured: all of it, or in QUICK what fits into five minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bench.worker.contestants import CONTESTANTS, Contestant, named


class Measure(Enum):
    """What `--only` can name."""

    DRAIN = "drain"
    TWO = "two"
    IO = "io"
    ENQUEUE = "enqueue"
    START = "start"
    FOREIGN = "foreign"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Plan:
    """``rounds`` of draining and ``side_rounds`` of other things; ``scale`` is applied to the numbers of jobs.

    ``best`` are those whose two processes and whose waiting jobs are measured too: ours and the fastest of each
    language.
    ``gaps`` and ``foreign_gaps`` are the shortest and the longest pause between two jobs, in seconds.
    """

    measures: frozenset[Measure]
    contestants: Sequence[Contestant]
    best: frozenset[str]
    rounds: int = 5
    side_rounds: int = 3
    scale: float = 1.0
    start_jobs: int = 153
    gaps: tuple[float, float] = (0.005, 0.055)
    foreign_jobs: int = 103
    foreign_gaps: tuple[float, float] = (0.05, 0.55)
    single_jobs: int = 5_000
    idle_rounds: int = 1
    idle_settle: float = 5.0
    idle_seconds: float = 20.0


_BEST = ("jobworker", "jobworker-threads", "bullmq", "sidekiq", "huey")
_QUICK = (*_BEST, "taskiq-stream")


def plan(
    measures: Sequence[Measure], names: Sequence[str], rounds: int | None, scale: float | None, *, quick: bool
) -> Plan:
    """The plan for what was asked; empty sequences and None stand for the default.

    Raises:
        KeyError: there is no contestant of a name.
    """
    asked = frozenset(measures or Measure)
    if quick:
        return Plan(
            measures=asked,
            contestants=[named(name) for name in names or _QUICK],
            best=frozenset(names or _BEST),
            rounds=rounds or 3,
            side_rounds=min(rounds or 1, 1),
            scale=scale or 0.5,
            start_jobs=303,
            gaps=(0.004, 0.024),
            foreign_jobs=53,
            foreign_gaps=(0.02, 0.4),
            single_jobs=3_000,
            idle_rounds=1,
            idle_settle=1.5,
            idle_seconds=6.0,
        )
    chosen = [named(name) for name in names] if names else list(CONTESTANTS)
    return Plan(
        measures=asked,
        contestants=chosen,
        best=frozenset(names or (*_QUICK, "saq")),
        rounds=rounds or 5,
        side_rounds=min(rounds or 3, 3),
        scale=scale or 1.0,
    )

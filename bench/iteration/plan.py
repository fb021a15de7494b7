"""How much is measured: all of it, or in QUICK what fits into three minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Measure(Enum):
    """What `--only` can name."""

    CHECKPOINTS = "checkpoints"
    ROWS = "rows"
    RESUME = "resume"
    HANDOVER = "handover"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many of what.

    ``iterations`` are of a millisecond each, ``flushes`` are checkpoints one behind the other, ``rows`` are walked over
    at full speed, ``far`` is how many rows are done where a walk goes on, ``far_in_postgres`` the same there, whose
    table is made anew each time, and ``remembered`` are rows whose ids are noted.
    """

    measures: frozenset[Measure]
    rounds: int
    iterations: int
    flushes: int
    rows: int
    resume_rounds: int
    far: int
    far_in_postgres: int
    handovers: int
    remembered: int


_FAR = 10_000_000


def plan(measures: Sequence[Measure], rounds: int | None, scale: float | None, *, quick: bool) -> Plan:
    """The plan for what was asked; an empty sequence and None stand for the default."""
    factor = scale or 1.0

    def scaled(count: int) -> int:
        return max(100, round(count * factor))

    return Plan(
        measures=frozenset(measures or Measure),
        rounds=rounds or (2 if quick else 5),
        iterations=scaled(1_500 if quick else 6_000),
        flushes=scaled(1_000 if quick else 3_000),
        rows=scaled(200_000 if quick else 1_000_000),
        resume_rounds=rounds or (5 if quick else 15),
        far=scaled(_FAR),
        far_in_postgres=scaled(_FAR // 10 if quick else _FAR),
        handovers=rounds or (4 if quick else 20),
        remembered=scaled(_FAR // 10 if quick else _FAR),
    )

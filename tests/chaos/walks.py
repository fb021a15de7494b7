"""Judges iterating jobs: each row ran, and what a crash repeats is at most what lies between two checkpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from tests.chaos.jobs import FLUSH_SECONDS
from tests.chaos.records import Record

NOTICE_SECONDS = 3.0
"""How long a worker that was stopped and comes back may need to hear that its jobs are somebody else's."""

WRITE_SECONDS = 0.5
"""How long a checkpoint that is due may need to be in Redis, on a machine where all of this runs at once."""


@dataclass(slots=True)
class Walk:
    """One run of an iterating job: from row ``at`` of ``total``, ``rows`` with their times, in this order."""

    life: str
    began: float
    at: int
    total: int
    rows: list[tuple[int, float]] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """About all walks of one job."""

    rows: int = 0
    repeated: int = 0
    missing: int = 0
    violations: list[str] = field(default_factory=list)


def of_jobs(records: Sequence[Record]) -> dict[str, list[Walk]]:
    """The walks of each job, in the order in which they began."""
    walks: dict[str, list[Walk]] = defaultdict(list)
    latest: dict[tuple[str, str], Walk] = {}
    for record in records:
        match record["e"]:
            case "walk":
                walk = Walk(record["life"], record["t"], record["at"], record["of"])
                walks[record["jid"]].append(walk)
                latest[record["jid"], record["life"]] = walk
            case "item":
                latest[record["jid"], record["life"]].rows.append((record["item"], record["t"]))
            case _:
                pass
    return walks


class Cause(Protocol):
    """Why a walk ended before its time."""

    @property
    def until(self) -> float:
        """From then on the process could hear that its jobs have another holder."""
        ...


def judge_walks(
    walks: Sequence[Walk],
    causes: Callable[[Walk], Sequence[Cause]],
    came_late: Callable[[Walk], bool],
    troubled: Callable[[str, float, float], bool],
) -> Found:
    """``causes`` tells why a walk may have ended uncleanly, ``troubled`` whether checkpoints could fail then.

    ``came_late``: it may have begun though the job had a new holder, so nothing follows from where it went on.
    """
    found = Found()
    seen: set[int] = set()
    for walk in walks:
        rows = {row for row, _ in walk.rows}
        found.repeated += len(rows & seen)
        seen |= rows
        if walk.at and walk.at - 1 not in seen:
            found.violations.append(f"{walk.life} went on at row {walk.at}, and the row before it never ran")
    found.rows = len(seen)
    found.missing = walks[0].total - len(seen)
    for walk, following in pairwise([walk for walk in walks if not came_late(walk)]):
        again = [when for row, when in walk.rows if row >= following.at and when <= following.began]
        late = [when for _, when in walk.rows if when > following.began]
        reasons = causes(walk)
        if (again or late) and not reasons:
            count = len(again) + len(late)
            found.violations.append(
                f"{count} rows of {walk.life} ran again from {following.at} on, and no cause is known"
            )
        elif late and late[-1] > max(reason.until for reason in reasons) + NOTICE_SECONDS:
            found.violations.append(f"{walk.life} went on for {NOTICE_SECONDS} s with a job that had a new holder")
        # All but the last: the row that is under way when a checkpoint is due ends before it.
        elif [when for when in again[:-1] if when >= again[0] + FLUSH_SECONDS + WRITE_SECONDS] and not troubled(
            walk.life, again[0], again[-1]
        ):
            found.violations.append(
                f"{len(again)} rows of {again[-1] - again[0]:.2f} s in {walk.life} ran again from {following.at} on: "
                f"more than a checkpoint every {FLUSH_SECONDS} s leaves"
            )
    return found

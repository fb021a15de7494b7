"""What samples are made into. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(samples: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(samples) if samples else None


def percentile(samples: Sequence[float], part: float) -> float | None:
    """The sample that ``part`` (0 to 1) of all do not exceed: a real one, the nearest rank; None of nothing."""
    if not samples:
        return None
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * part // 1))  # rounded up, by the definition of the nearest rank
    return ordered[min(int(rank), len(ordered)) - 1]


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """The median of what each round's ours is in units of the same round's theirs; None if no round has both.

    Round by round, since what slows the machine for a while slows both sides of a round alike.
    """
    pairs = zip(ours, theirs, strict=False)
    return median([mine / other for mine, other in pairs if mine is not None and other])


def rounded(value: float | None, digits: int = 3) -> float | None:
    """To so many significant digits, as a figure is printed."""
    return None if value is None else float(f"{value:.{digits}g}")

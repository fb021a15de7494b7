"""Where a simulation disturbs an iterating job: each place for a short job, places drawn by seed for a long one.

Decided without running anything. The simplest disturbances come first, so that the first failure is the easiest to
understand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from random import Random

_EVERY_ITEM_UP_TO = 200  # items; one run for each


@dataclass(frozen=True, slots=True)
class Leg:
    """How one run of the job goes: all places are numbers of items done in this run; None for undisturbed.

    ``interrupt``: the worker is quieted during that item (0: before the first). ``kill``: SIGKILL after that item
    (0: before the first). ``checkpoint``: one falls due after that item. ``unheard``: killed after the job's end,
    before Redis heard of it. ``cancel``: somebody cancels the job during that item (0: before the first).
    """

    interrupt: int | None = None
    kill: int | None = None
    checkpoint: int | None = None
    unheard: bool = False
    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The runs that are disturbed, one after the other; a last one that is not follows. ``words`` say what happens."""

    words: str
    legs: tuple[Leg, ...]


def interruptions(items: int, most: int, seed: int) -> list[Disturbance]:
    """Clean interruptions of a job of so many items, at most so many: one, one after each item, and two."""
    draw = Random(seed)
    chosen = [_interrupted((place,), items) for place in _drawn(range(items + 1), max(1, most * 2 // 3), draw)]
    if 1 < items <= _EVERY_ITEM_UP_TO and len(chosen) < most:
        every = tuple(Leg(interrupt=1) for _ in range(items))
        chosen.append(Disturbance("it is interrupted after every single item", every))
    chosen += [_interrupted(pair, items) for pair in _pairs(range(items + 1), most - len(chosen), draw)]
    return chosen


def crashes(items: int, most: int, seed: int) -> list[Disturbance]:
    """SIGKILLs of a job of so many items, at most so many: each with every place of the last checkpoint before it."""
    draw = Random(seed)
    killed = [_killed(None, place, items) for place in _drawn(range(items + 1), max(1, most // 3), draw)]
    killed.append(Disturbance("it is killed after its end, before Redis hears of it", (Leg(unheard=True),)))
    places = range(1, items + 1)
    killed += [_killed(flushed, place, items) for flushed, place in _pairs(places, most - len(killed), draw)]
    return killed


def cancellations(items: int, most: int, seed: int) -> list[Disturbance]:
    """Cancellations of a job of so many items, at most so many: one, after each item."""
    places = _drawn(range(items + 1), max(1, most), Random(seed))
    return [Disturbance(f"it is cancelled {_after(place, items)}", (Leg(cancel=place),)) for place in places]


def _interrupted(places: tuple[int, ...], items: int) -> Disturbance:
    starts = (0, *places)
    legs = tuple(Leg(interrupt=place - start) for start, place in zip(starts, places, strict=False))
    where = " and ".join(_after(place, items) for place in places)
    return Disturbance(f"it is interrupted {where}", legs)


def _killed(flushed: int | None, place: int, items: int) -> Disturbance:
    last = "before any checkpoint" if flushed is None else f"its last checkpoint {_after(flushed, items)}"
    return Disturbance(f"it is killed {_after(place, items)}, {last}", (Leg(kill=place, checkpoint=flushed),))


def _after(place: int, items: int) -> str:
    return f"after item {place} of {items}" if place else "before its first item"


def _drawn(places: range, most: int, draw: Random) -> Iterable[int]:
    if len(places) <= most:
        return places
    ends = {places[0], places[-1]}
    return sorted(ends | set(draw.sample(places, most - len(ends)))) if most > len(ends) else sorted(ends)


def _pairs(places: range, most: int, draw: Random) -> Iterator[tuple[int, int]]:
    """Pairs in ascending order, also of the same place twice: all, or as many as asked."""
    count = len(places) * (len(places) + 1) // 2
    if most <= 0:
        return iter(())
    if count <= most:
        return chain.from_iterable(((first, second) for second in places if second >= first) for first in places)
    drawn = {_ordered(draw.choice(places), draw.choice(places)) for _ in range(most)}
    return iter(sorted(drawn))


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one <= other else (other, one)

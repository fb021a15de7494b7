"""The plan of the chaos run is by seed alone."""

from __future__ import annotations

from itertools import islice

from tests.chaos import plan
from tests.chaos.plan import Stroke, What


def strokes(seed: int) -> list[Stroke]:
    return [
        *islice(plan.on_workers(seed, 8), 500),
        *islice(plan.on_networks(seed, 2), 500),
        *islice(plan.on_redis(seed, 25), 200),
    ]


def test_same_seed_brings_the_same_strokes_and_another_one_others() -> None:
    assert strokes(7) == strokes(7)
    assert strokes(7) != strokes(8)


def test_every_kind_of_stroke_comes() -> None:
    assert {stroke.what for stroke in strokes(7)} == set(What)


def test_workers_are_struck_as_often_as_asked() -> None:
    seconds = sum(stroke.after for stroke in islice(plan.on_workers(7, 8), 2000))
    assert 0.9 < 2000 / seconds / 8 < 1.1

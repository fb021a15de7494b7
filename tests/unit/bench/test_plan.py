"""What is measured for which flags."""

from __future__ import annotations

import pytest

from bench.worker.contestants import CONTESTANTS, Family
from bench.worker.plan import Measure, plan


def test_by_default_everybody_takes_part_in_everything() -> None:
    chosen = plan([], [], None, None, quick=False)
    assert list(chosen.contestants) == list(CONTESTANTS)
    assert chosen.measures == set(Measure)


def test_quick_has_a_contestant_of_each_family() -> None:
    chosen = plan([], [], None, None, quick=True)
    assert {contestant.family for contestant in chosen.contestants} == set(Family)
    assert chosen.best <= {contestant.name for contestant in chosen.contestants}


@pytest.mark.parametrize("quick", [False, True])
def test_at_least_three_hundred_starts_are_timed(*, quick: bool) -> None:
    chosen = plan([], [], None, None, quick=quick)
    assert (chosen.start_jobs - 3) * chosen.side_rounds >= 300


def test_who_is_named_takes_part_in_everything() -> None:
    chosen = plan([Measure.TWO], ["rq"], 1, 0.5, quick=False)
    assert [contestant.name for contestant in chosen.contestants] == ["rq"]
    assert chosen.best == {"rq"}
    assert chosen.measures == {Measure.TWO}
    assert (chosen.rounds, chosen.side_rounds) == (1, 1)
    assert chosen.scale == 0.5


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(KeyError):
        plan([], ["sidekick"], None, None, quick=False)

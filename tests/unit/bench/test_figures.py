"""Medians, percentiles and ratios."""

from __future__ import annotations

import pytest

from bench.worker.figures import median, percentile, ratio, rounded


def test_the_median_of_nothing_is_nothing() -> None:
    assert median([]) is None
    assert median([3, 1, 2]) == 2
    assert median([1, 2, 3, 10]) == 2.5


@pytest.mark.parametrize(
    ("part", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.505, 51), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_a_percentile_is_the_sample_of_the_nearest_rank(part: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), part) == expected


def test_a_percentile_of_few_samples_is_one_of_them() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([], 0.5) is None


def test_a_ratio_compares_round_by_round() -> None:
    # The machine was half as fast in the second round: for both.
    assert ratio([100, 50, 100], [10, 5, 10]) == 10
    # The ratio of the medians would be 1.
    assert ratio([20, 20, 90], [10, 20, 30]) == 2


def test_rounds_that_one_side_lacks_do_not_count() -> None:
    assert ratio([None, 30, 40], [10, None, 20]) == 2
    assert ratio([10], [0]) is None
    assert ratio([None], [10]) is None
    assert ratio([], [10, 20]) is None


def test_figures_are_rounded_to_significant_digits() -> None:
    assert rounded(0.0123456) == 0.0123
    assert rounded(123456.0) == 123000
    assert rounded(None) is None

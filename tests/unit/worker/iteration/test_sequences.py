from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ConfigurationError, CursorMismatch, list_items, number_range
from tests.resuming import resumed_everywhere


@given(items=st.lists(st.integers(), max_size=20))
def test_list_goes_on_at_any_cursor(items: list[int]) -> None:
    assert resumed_everywhere(lambda cursor: list_items(items, cursor)) == items
    assert list_items(items, None).total == len(items)


@given(start=st.integers(-50, 50), stop=st.integers(-50, 50), step=st.integers(-7, 7).filter(bool))
def test_range_goes_on_at_any_cursor(start: int, stop: int, step: int) -> None:
    expected = list(range(start, stop, step))
    assert resumed_everywhere(lambda cursor: number_range(start, stop, cursor, step=step)) == expected
    assert number_range(start, stop, None, step=step).total == len(expected)


def test_range_whose_end_has_moved_goes_on_to_the_new_one() -> None:
    assert [number for number, _ in number_range(0, 12, 8, step=4)] == [8]
    assert [number for number, _ in number_range(0, 20, 8, step=4)] == [8, 12, 16]
    assert [number for number, _ in number_range(0, 4, 8, step=4)] == []


def test_list_that_got_shorter_than_the_cursor_is_no_finished_job() -> None:
    assert list(list_items(["a"], 1)) == []
    with pytest.raises(CursorMismatch, match="was at item 2 of a list that has only 1 items now"):
        list_items(["a"], 2)


@pytest.mark.parametrize("cursor", [[3, 40], "3", 3.0, True, {"after": [3]}, -1])
def test_cursor_of_another_enumerator_is_refused(cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match=r"list_items cannot go on from the cursor .*index of the next item"):
        list_items(["a", "b", "c", "d"], cursor)
    with pytest.raises(CursorMismatch, match="number_range cannot go on from the cursor"):
        number_range(0, 10, cursor)


def test_range_of_another_start_is_refused() -> None:
    with pytest.raises(CursorMismatch, match="it counts from 1 in steps of 2"):
        number_range(1, 10, 4, step=2)


def test_range_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a step of 0"):
        number_range(1, 10, None, step=0)

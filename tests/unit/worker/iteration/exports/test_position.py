"""Where an export stands travels as a cursor, and can be taken back to the end of any part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import CursorMismatch
from jobworker.iteration.exports.position import Aside, Part, Position, first_difference
from tests.resuming import travelled

walks = st.one_of(st.none(), st.integers(0, 100), st.lists(st.integers(0, 9)), st.dictionaries(st.text(), st.text()))
counts = st.integers(0, 1 << 40)
parts = st.lists(st.builds(Part, st.text(), counts, counts, walks), max_size=4).map(tuple)
asides = st.none() | st.builds(Aside, st.integers(0, 1), st.text(), counts, counts, walks)
keys = st.none() | st.text(min_size=1)
positions = st.builds(Position, keys, keys, parts, asides, restarts=st.integers(0, 4))

PARTS = tuple(Part(f"etag {n}", 100 + n, 10 * n, n) for n in (1, 2, 3))


@given(positions)
def test_position_comes_back_as_it_was(position: Position) -> None:
    assert Position.read(travelled(position.cursor())) == position


def test_end_comes_back_as_it_was() -> None:
    for end in (Position("k", "u", PARTS, walked=True), Position("k", "u", PARTS, walked=True, stored=True)):
        assert Position.read(travelled(end.cursor())) == end


@pytest.mark.parametrize(
    "cursor",
    [
        17,
        [3, 40],
        {"etag": "x", "at": None},
        {**Position().cursor(), "export": 2},
        {**Position().cursor(), "parts": [["etag", -1, 0, None]]},
        {**Position().cursor(), "parts": ["etag"]},
        {**Position().cursor(), "aside": [2, "etag", 1, 1, None]},
        {**Position().cursor(), "aside": "x"},
    ],
)
def test_cursor_of_something_else_is_refused(cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match="an export cannot go on from the cursor"):
        Position.read(cursor)


def test_it_goes_on_behind_what_was_put_aside_or_else_behind_the_last_part() -> None:
    position = Position("k", "u", PARTS)
    assert (position.rows, position.walk) == (30, 3)
    aside = Aside(1, "e", 5, 34, "there")
    behind = Position("k", "u", PARTS, aside)
    assert (behind.rows, behind.walk) == (34, "there")
    part = behind.with_part(Part("e4", 1, 36, 4))
    assert (part.rows, part.walk, part.aside, part.size) == (36, 4, None, 307)
    assert (Position().rows, Position().walk, Position().begun) == (0, None, False)


def test_taken_back_it_goes_on_behind_the_parts_that_are_left() -> None:
    position = Position("k", "u", PARTS, Aside(0, "e", 5, 34, None), walked=True)
    assert position.back_to(2) == Position("k", "u", PARTS[:2], restarts=1)
    assert position.back_to(0) == Position("k", None, (), restarts=1), "of nothing left the upload is none"


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ([(1, "etag 1"), (2, "etag 2"), (3, "etag 3"), (4, "late")], 3),
        ([(3, "etag 3"), (1, "etag 1"), (2, "late")], 1),
        ([(2, "etag 2"), (3, "etag 3")], 0),
        ([(1, "etag 1"), (3, "etag 3")], 1),
        ([], 0),
    ],
)
def test_parts_are_good_up_to_the_first_that_is_another_or_missing(found: list[tuple[int, str]], same: int) -> None:
    assert first_difference(PARTS, found) == same

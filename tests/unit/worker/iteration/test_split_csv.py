"""Ranges of bytes of a file of CSV: every row is in one of them, whatever is quoted."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import CursorMismatch, csv_rows, split_csv
from tests.resuming import resumed_everywhere

CELLS = st.text(st.sampled_from('ab,"\n ü'), max_size=6)


def written(rows: list[tuple[str, str]], end: str) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([("one", "two"), *rows])
    return file.getvalue().removesuffix("\n" if not end else "").encode()


def walked(data: bytes, **options: Any) -> list[dict[str, str]]:
    return [row for row, _ in csv_rows(io.BytesIO(data), None, **options)]


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=12), parts=st.integers(1, 9), end=st.sampled_from(["", "\n"]))
def test_every_row_is_in_one_range_in_order(rows: list[tuple[str, str]], parts: int, end: str) -> None:
    data = written(rows, end)
    ranges = split_csv(io.BytesIO(data), parts)
    assert 1 <= len(ranges) <= parts
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(data)
    assert [row for some in ranges for row in walked(data, between=some)] == walked(data)
    for some in ranges:
        assert csv_rows(io.BytesIO(data), None, between=some, count=True).total == len(walked(data, between=some))


def test_large_file_is_cut_into_parts_of_about_the_same_size() -> None:
    data = b"id,name\n" + b"".join(b'%d,"long\nname %d"\n' % (number, number) for number in range(60_000))
    ranges = split_csv([data[at : at + 10_007] for at in range(0, len(data), 10_007)], 7)
    assert len(ranges) == 7
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) < 1.05 * min(sizes)
    rows = [int(row["id"]) for some in ranges for row in walked(data, between=some)]
    assert rows == list(range(60_000))


def test_walk_of_a_range_goes_on_at_every_row() -> None:
    data = written([(str(number), "x\ny") for number in range(12)], "\n")
    _, middle, _ = split_csv(io.BytesIO(data), 3)
    assert resumed_everywhere(lambda cursor: csv_rows(io.BytesIO(data), cursor, between=middle))


def test_cursor_of_another_range_is_refused() -> None:
    data = written([(str(number), "x") for number in range(12)], "\n")
    first, _, last = split_csv(io.BytesIO(data), 3)
    cursor = [cursor for _, cursor in csv_rows(io.BytesIO(data), None, between=first)][1]
    with pytest.raises(CursorMismatch, match="does not lie between"):
        csv_rows(io.BytesIO(data), cursor, between=last)


def test_empty_file_has_no_ranges_and_no_part_is_refused() -> None:
    assert split_csv(io.BytesIO(b""), 3) == []
    with pytest.raises(ValueError, match="at least one"):
        split_csv(io.BytesIO(b"a\n"), 0)

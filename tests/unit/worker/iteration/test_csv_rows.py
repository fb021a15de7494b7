from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import csv_rows
from jobworker.iteration.enumerators import SURPLUS

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6)


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=8), data=st.data())
def test_csv_goes_on_at_any_cursor_with_nothing_lost_or_repeated(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    quoted = (",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    path.write_bytes(("\ufeffid,name\n" + "".join(f"{line}\n" for line in quoted)).encode())
    done = list(csv_rows(path, None))
    expected = [{"id": a, "name": b} for a, b in rows]
    assert [row for row, _ in done] == expected
    stop = data.draw(st.integers(0, len(rows)))
    cursor = orjson.loads(orjson.dumps(done[stop - 1][1])) if stop else None
    assert [row for row, _ in done[:stop]] + [row for row, _ in csv_rows(path, cursor)] == expected
    assert csv_rows(path, None, count=True).total == len(rows)


def test_short_long_and_blank_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1\n\n2,3,4,5\n")
    assert [(row, cursor[0]) for row, cursor in csv_rows(path, None)] == [
        ({"a": "1", "b": ""}, 1),
        ({"a": "2", "b": "3", SURPLUS: "4,5"}, 2),
    ]


def test_file_without_a_header_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("")
    assert list(csv_rows(path, None)) == []

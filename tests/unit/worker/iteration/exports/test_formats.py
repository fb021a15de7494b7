"""Rows become bytes that the readers of the world take for what they are."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ConfigurationError, CsvFile, JsonLinesFile, RawFile
from jobworker.iteration.exports.formats import FileFormat, Gzipped, Plain


def written(file: FileFormat, *rows: Any) -> bytes:
    to_bytes = file.to_bytes()
    return file.head() + b"".join(map(to_bytes, rows))


def test_cells_are_quoted_where_they_must_be() -> None:
    file = CsvFile(header=["id", "note"])
    rows = [[1, 'she said "no"'], [2, "two\nlines"], (3, None), {"note": "named", "id": Decimal("4.0")}, {"id": 5}]
    assert written(file, *rows) == (b'id,note\r\n1,"she said ""no"""\r\n2,"two\nlines"\r\n3,\r\n4.0,named\r\n5,\r\n')


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), min_size=2), max_size=5))
def test_what_is_written_is_what_is_read(rows: list[list[str]]) -> None:
    assert list(csv.reader(io.StringIO(written(CsvFile(), *rows).decode(), newline=""))) == rows


def test_dialect_and_encoding() -> None:
    file = CsvFile(header=["größe"], delimiter=";", line_end="\n", encoding="cp1252")
    assert written(file, ["süß;"], "as it is\n", b"bytes\n") == 'größe\n"süß;"\nas it is\nbytes\n'.encode("cp1252")
    assert file.content_type == "text/csv; charset=cp1252"
    marked = CsvFile(encoding="utf-8-sig")
    assert written(marked, ["ä"], ["ö"]) == "\ufeffä\r\nö\r\n".encode()
    assert marked.content_type == "text/csv; charset=utf-8"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "nonsense"])
def test_encoding_that_cannot_be_appended_to_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match="CsvFile"):
        CsvFile(encoding=encoding)


@pytest.mark.parametrize(
    ("file", "row", "message"),
    [
        (CsvFile(), {"id": 1}, "has no header"),
        (CsvFile(header=["id"]), {"id": 1, "name": "x", "age": 2}, "row returned age, name, which the header"),
        (RawFile(), 17, "row returned int; this file takes bytes and text"),
    ],
)
def test_row_that_does_not_fit_is_told(file: FileFormat, row: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        file.to_bytes()(row)


def test_json_lines() -> None:
    rows = [{"at": datetime(2026, 11, 21, tzinfo=UTC), "note": "two\nlines"}, [1, None], b'{"done": true}\n', "17\n"]
    lines = written(JsonLinesFile(), *rows).splitlines()
    assert [orjson.loads(line) for line in lines] == [
        {"at": "2026-11-21T00:00:00+00:00", "note": "two\nlines"}, [1, None], {"done": True}, 17,
    ]  # fmt: skip


def test_raw_rows_stand_one_after_the_other() -> None:
    assert written(RawFile(first=b"head"), b"\x00\xff", "ä") == b"head\x00\xff\xc3\xa4"


@given(st.lists(st.tuples(st.binary(), st.booleans()), max_size=20))
def test_pressed_bytes_are_a_gzip_file_wherever_they_are_cut(pieces: list[tuple[bytes, bool]]) -> None:
    rest, parts = Gzipped(), []
    for data, cut in pieces:
        rest.add(data)
        if cut:
            parts.append(bytes(rest.whole()))
            rest.clear()
    parts.append(bytes(rest.whole()))
    assert gzip.decompress(b"".join(parts)) == b"".join(data for data, _ in pieces)


@pytest.mark.parametrize("kind", [Plain, Gzipped])
def test_what_was_put_aside_goes_on(kind: type[Plain]) -> None:
    before, after = kind(), kind()
    before.add(b"one")
    after.restore(bytes(before.whole()))
    after.add(b"two")
    whole = bytes(after.whole())
    assert (whole if kind is Plain else gzip.decompress(whole)) == b"onetwo"

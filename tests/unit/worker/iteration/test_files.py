from __future__ import annotations

import codecs
import csv
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ConfigurationError, CursorMismatch, MalformedItem, csv_rows, json_lines
from tests.resuming import resumed_everywhere, travelled

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6)
MARK = st.sampled_from([b"", codecs.BOM_UTF8])


class StoredObject:
    """An object of a storage: ranges of bytes can be asked for. Counts what was."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.offset = 0
        self.asked = 0
        self.closed = False

    def seek(self, offset: int) -> None:
        self.offset = offset

    def read(self, size: int) -> bytes:
        found = self.content[self.offset : self.offset + size]
        self.offset += len(found)
        self.asked += len(found)
        return found

    def close(self) -> None:
        self.closed = True


def chunks(content: bytes, size: int = 3) -> Iterator[bytes]:
    yield b""
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


def upload(content: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=8)  # noqa: SIM115  # closed by the walk
    file.write(content)
    return file


SOURCES: dict[str, Callable[[bytes], Any]] = {
    "chunks": chunks,
    "stored object": StoredObject,
    "bytes in memory": io.BytesIO,
    "upload": upload,
}


@pytest.mark.parametrize("source", SOURCES)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5), mark=MARK, end=st.sampled_from(["", "\r\n"]))
def test_csv_from_anywhere_goes_on_at_any_row(source: str, rows: list[tuple[str, str]], mark: bytes, end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows([("id", "na\nme"), *rows])
    content = mark + (text.getvalue().removesuffix("\r\n") + end).encode()
    expected = [{"id": a, "na\nme": b} for a, b in rows]
    assert resumed_everywhere(lambda cursor: csv_rows(SOURCES[source](content), cursor)) == expected


@pytest.mark.parametrize("source", SOURCES)
@given(
    values=st.lists(st.recursive(st.none() | st.integers(-9, 9) | CELLS, lambda inner: st.lists(inner, max_size=3))),
    mark=MARK,
    blank=st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \n"]),
)
def test_json_lines_from_anywhere_go_on_at_any_value(source: str, values: list[Any], mark: bytes, blank: bytes) -> None:
    content = mark + blank.join(map(orjson.dumps, values))
    assert resumed_everywhere(lambda cursor: json_lines(SOURCES[source](content), cursor)) == values
    assert json_lines(io.BytesIO(content), None, count=True).total == len(values)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "iso-8859-15"])
def test_csv_of_many_encodings(encoding: str) -> None:
    content = "größe,preis\nä,10\n\nü,20\n".encode(encoding)
    rows = resumed_everywhere(lambda cursor: csv_rows(io.BytesIO(content), cursor, encoding=encoding))
    assert rows == [{"größe": "ä", "preis": "10"}, {"größe": "ü", "preis": "20"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32-le"])
def test_encoding_whose_lines_cannot_be_found_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match="convert it to UTF-8"):
        csv_rows("rows.csv", None, encoding=encoding)


def test_encoding_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no encoding 'utf-9'"):
        csv_rows("rows.csv", None, encoding="utf-9")


def test_columns_can_be_named_for_a_file_that_does_not() -> None:
    rows = resumed_everywhere(lambda cursor: csv_rows(io.BytesIO(b"1;a\n2;b\n"), cursor, header="xy", delimiter=";"))
    assert rows == [{"x": "1", "y": "a"}, {"x": "2", "y": "b"}]


def test_cursor_written_by_the_first_version_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(codecs.BOM_UTF8 + b'id,name\n1,"A\nda"\n2,Bob\n3,Eve\n')
    assert [row["name"] for row, _ in csv_rows(path, [1, 20])] == ["Bob", "Eve"]
    assert [cursor for _, cursor in csv_rows(str(path), None)] == [[1, 20], [2, 26], [3, 32]]


def test_going_on_at_the_millionth_row_reads_its_end_alone(tmp_path: Path, record_property: Any) -> None:
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.write(b"id,name\n")
        for thousand in range(1_000):
            file.write(b"".join(b'%d,"name, %d"\n' % (n, n) for n in range(thousand * 1_000, (thousand + 1) * 1_000)))
    size = path.stat().st_size
    last = b'999999,"name, 999999"\n'
    began = time.perf_counter()
    row, cursor = next(iter(csv_rows(path, [999_999, size - len(last)])))
    milliseconds = (time.perf_counter() - began) * 1_000
    print(f"resumed a CSV at row 1,000,000, byte {size:,}, in {milliseconds:.2f} ms")  # noqa: T201  # a measurement
    record_property("csv_resume_ms", milliseconds)
    assert (row, cursor) == ({"id": "999999", "name": "name, 999999"}, [1_000_000, size])
    stored = StoredObject(path.read_bytes())
    assert len(list(csv_rows(stored, [999_999, size - len(last)]))) == 1
    assert stored.asked <= (1 << 20) + len(last) + 1


@pytest.mark.parametrize("read", [csv_rows, json_lines])
def test_whatever_was_open_is_closed_when_the_walk_ends(read: Any) -> None:
    stored = StoredObject(b"1\n2\n")
    walk = read(stored, None, count=True)
    before = stored.closed
    assert len(list(walk)) == walk.total
    assert (before, stored.closed) == (False, True)
    abandoned = StoredObject(b"1\n2\n3\n")
    pairs = iter(read(abandoned, None))
    next(pairs)
    pairs.close()
    assert abandoned.closed


def test_file_that_was_read_from_before_is_walked_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "values"
    path.write_bytes(b"1\n2\n")
    with path.open("rb") as file:
        file.readline()
        values: json_lines[int] = json_lines(file, None)
        assert [value for value, _ in values] == [1, 2]
        assert file.closed


@pytest.mark.parametrize(("read", "content"), [(csv_rows, b"id\n1\n22\n333\n"), (json_lines, b"1\n22\n333\n")])
def test_file_that_is_not_what_it_was_is_refused(read: Any, content: bytes) -> None:
    cursor = travelled(list(read(io.BytesIO(content), None))[1][1])
    for shorter in (io.BytesIO(content[:-6]), chunks(content[:-6])):
        with pytest.raises(CursorMismatch, match="is shorter than it was: the job was at byte"):
            list(read(shorter, cursor))
    with pytest.raises(CursorMismatch, match="is not what it was: the job was at byte"):
        list(read(io.BytesIO(content.replace(b"22", b"55555")), cursor))


def test_file_that_has_grown_behind_its_last_line_goes_on() -> None:
    grown: json_lines[int] = json_lines(io.BytesIO(b"1\n2\n3\n"), [2, 3])
    assert [value for value, _ in grown] == [3]
    (_, cursor) = list(csv_rows(io.BytesIO(b"id\n1"), None))[-1]
    assert [row["id"] for row, _ in csv_rows(io.BytesIO(b"id\n1\r\n2"), cursor)] == ["2"]


def test_cursor_within_the_header_is_refused() -> None:
    with pytest.raises(CursorMismatch, match="no row begins at byte 2, for the header ends at 8"):
        list(csv_rows(io.BytesIO(b"id,name\n1,a\n"), [1, 2]))


@pytest.mark.parametrize("cursor", [3, "3", [3], [1, 2, 3], [1, -2], [True, 3], [1, 2.5], {"after": [3]}])
@pytest.mark.parametrize("read", [csv_rows, json_lines])
def test_cursor_of_another_enumerator_is_refused(read: Any, cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match=r"its cursor is \[items done, offset in bytes\]"):
        read("rows", cursor)


def test_rows_that_cannot_be_read_are_named() -> None:
    content = b"id,name\n1,a\n2,\xff\n3,c\n"
    with pytest.raises(MalformedItem, match=r"the BytesIO: row 2 at byte 12 is not utf-8-sig .*errors='replace'"):
        list(csv_rows(io.BytesIO(content), None))
    rows = [row["name"] for row, _ in csv_rows(io.BytesIO(content), None, errors="replace")]
    assert rows == ["a", "\ufffd", "c"]
    with pytest.raises(MalformedItem, match="row 2 at byte 6 is no CSV"):
        list(csv_rows(io.BytesIO(b"id\n1,\n" + b"x" * 200_000), None))
    with pytest.raises(MalformedItem, match="the header at byte 0 is not utf-8-sig"):
        list(csv_rows(io.BytesIO(b"\xff\n1\n"), None))
    with pytest.raises(MalformedItem, match=r"value 2 at byte 4: .*nope"):
        list(json_lines(io.BytesIO(b"[1]\nnope\n"), None))


def test_values_can_be_decoded_by_the_job() -> None:
    assert [line for line, _ in json_lines(io.BytesIO(b"1\nnope\n"), None, decode=bytes)] == [b"1", b"nope"]


@pytest.mark.parametrize("read", [csv_rows, json_lines])
def test_sources_that_cannot_be_walked_say_so(read: Any) -> None:
    with pytest.raises(ConfigurationError, match="open it with 'rb'"):
        list(read(io.StringIO("id\n1\n"), None))
    with pytest.raises(ConfigurationError, match=r"as io\.BytesIO"):
        list(read(b"id\n1\n", None))
    with pytest.raises(ConfigurationError, match="text instead of bytes"):
        list(read(iter(["id\n1\n"]), None))
    with pytest.raises(ConfigurationError, match="can be read only once"):
        read(chunks(b"id\n1\n"), None, count=True)
    with pytest.raises(FileNotFoundError):
        list(read("/nowhere/rows", None))

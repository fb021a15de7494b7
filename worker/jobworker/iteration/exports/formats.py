"""What the rows of an export look like in its file, and how the file is pressed together.

A format is a value without a state; the function that it makes for a run turns what `row` answered into bytes.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from jobworker.errors import ConfigurationError

ToBytes = Callable[[Any], bytes]


class FileFormat(Protocol):
    """How rows become bytes. ``suffix`` ends the key of a file that the job names not otherwise."""

    @property
    def suffix(self) -> str:
        """Such as .csv."""
        ...

    @property
    def content_type(self) -> str:
        """What the storage tells whoever reads the file."""
        ...

    def head(self) -> bytes:
        """What stands before the first row."""
        ...

    def to_bytes(self) -> ToBytes:
        """For one run."""
        ...


@dataclass(frozen=True, slots=True)
class CsvFile:
    """CSV. A row is a sequence of cells, or a mapping by the names of ``header``; None is an empty cell.

    ``encoding`` "utf-8-sig" writes the mark by which spreadsheet programs know UTF-8.

    Raises:
        ConfigurationError: an encoding whose rows cannot be put one after the other.
    """

    header: Sequence[str] = ()
    delimiter: str = ","
    line_end: str = "\r\n"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        try:
            twice = len("aa".encode(self.encoding)) - len("a".encode(self.encoding))
        except LookupError as error:
            raise ConfigurationError(f"CsvFile: there is no encoding {self.encoding!r}; try 'utf-8'") from error
        if twice != 1:
            raise ConfigurationError(f"CsvFile cannot write {self.encoding} row by row; use 'utf-8' or 'utf-8-sig'")

    @property
    def suffix(self) -> str:
        """Of the key."""
        return ".csv"

    @property
    def content_type(self) -> str:
        """Of the object."""
        return f"text/csv; charset={self._row_encoding}"

    def head(self) -> bytes:
        """The mark, where there is one, and the header."""
        mark = "".encode(self.encoding)
        return mark + (self.to_bytes()(list(self.header)) if self.header else b"")

    def to_bytes(self) -> ToBytes:
        """Cells to a line; text and bytes are lines already."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.line_end)
        encoding, header = self._row_encoding, list(self.header)

        def line(row: Any) -> bytes:
            if isinstance(row, bytes):
                return row
            if isinstance(row, str):
                return row.encode(encoding)
            text.seek(0)
            text.truncate()
            writer.writerow(_cells(header, row) if isinstance(row, Mapping) else row)
            return text.getvalue().encode(encoding)

        return line

    @property
    def _row_encoding(self) -> str:
        return "utf-8" if self.encoding.lower().replace("_", "-") in {"utf-8-sig", "utf8-sig"} else self.encoding


@dataclass(frozen=True, slots=True)
class JsonLinesFile:
    """JSON Lines: each row a value of JSON in a line of its own. Text and bytes are lines already."""

    suffix: str = ".jsonl"
    content_type: str = "application/x-ndjson"

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def to_bytes(self) -> ToBytes:
        """A value to a line."""
        return lambda row: _whole(row) if isinstance(row, str | bytes) else orjson.dumps(row) + b"\n"


@dataclass(frozen=True, slots=True)
class RawFile:
    """Bytes or text as `row` makes them, one after the other."""

    suffix: str = ""
    content_type: str = "application/octet-stream"
    first: bytes = b""

    def head(self) -> bytes:
        """What the job says."""
        return self.first

    def to_bytes(self) -> ToBytes:
        """Bytes as they are, text in UTF-8."""
        return _whole


def _whole(row: Any) -> bytes:
    if isinstance(row, bytes):
        return row
    if isinstance(row, str):
        return row.encode()
    raise ConfigurationError(f"row returned {type(row).__name__}; this file takes bytes and text")


def _cells(header: Sequence[str], row: Mapping[str, Any]) -> list[Any]:
    if not header:
        raise ConfigurationError("row returned a mapping, and CsvFile has no header; give CsvFile(header=[…])")
    if surplus := row.keys() - set(header):
        raise ConfigurationError(
            f"row returned {', '.join(sorted(surplus))}, which the header of CsvFile does not name"
        )
    return [row.get(name) for name in header]


class Plain:
    """The bytes behind the last part, as they are."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        """Behind what is there."""
        self.data += data

    def whole(self) -> bytearray:
        """All of it, so that it can stand for itself; more may be added later. Not to be changed."""
        return self.data

    def clear(self) -> None:
        """It went into a part. Whoever sends the bytes away keeps them."""
        self.data = bytearray()

    def restore(self, data: bytes) -> None:
        """What was put aside by another run."""
        self.data = bytearray(data)


class Gzipped(Plain):
    """The same as gzip: several members one after the other, each complete where the bytes leave this process."""

    def __init__(self, level: int = 6) -> None:
        super().__init__()
        self._level = level
        self._member: Any = None

    def add(self, data: bytes) -> None:
        """Pressed together with what is there."""
        if self._member is None:
            self._member = zlib.compressobj(
                self._level, zlib.DEFLATED, 31
            )  # 31: with the header of gzip, without a time
        self.data += self._member.compress(data)

    def whole(self) -> bytearray:
        """All of it; what is added later is another member."""
        if self._member is not None:
            self.data += self._member.flush()
            self._member = None
        return self.data

    def clear(self) -> None:
        """As for plain bytes."""
        super().clear()
        self._member = None

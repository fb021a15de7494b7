"""Sources of items that can begin in the middle.

An enumerator is any iterator, plain or async, of pairs: an item, and the cursor to go on from once that item is
done. What is here adds a ``total`` where it is known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from jobworker.errors import ConfigurationError

T = TypeVar("T")

SURPLUS = "*"
"""Column under which `csv_rows` puts cells beyond the header's last, joined by commas."""


@runtime_checkable
class Counted(Protocol):
    """An enumerator that knows how many items there are from the very beginning, not from its cursor."""

    @property
    def total(self) -> int | None:
        """Items altogether, or None."""


class list_items(Generic[T]):  # noqa: N801  # reads as the verb it is: `return list_items(users, cursor)`
    """The items of a list; the cursor is the index of the next one.

    The list must be the same at each run of the job: pass ids that were chosen once, not a query's changing answer.
    """

    def __init__(self, items: Sequence[T], cursor: int | None) -> None:
        self._items = items
        self._next = cursor or 0
        self.total = len(items)

    def __iter__(self) -> Iterator[tuple[T, int]]:
        for index in range(self._next, len(self._items)):
            yield self._items[index], index + 1


class csv_rows:  # noqa: N801  # reads as the verb it is: `return csv_rows(path, cursor)`
    """The rows of a CSV file below its header, as dicts of strings.

    The cursor is [rows done, offset in bytes], so going on reads nothing again but the header. Missing cells are
    empty, surplus ones are under `SURPLUS`, blank lines are no rows. ``encoding`` must be one whose line feed is the
    byte 0x0A (all but UTF-16 and UTF-32). ``count`` reads the whole file once in front, to know the total.
    """

    def __init__(
        self,
        path: str | Path,
        cursor: Sequence[int] | None,
        *,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        count: bool = False,
    ) -> None:
        if "\n".encode(encoding)[-1:] != b"\n":
            raise ConfigurationError(f"csv_rows cannot resume in a file of {encoding}; convert it to UTF-8")
        self._path = Path(path)
        self._cursor = cursor
        self._encoding = encoding
        self._delimiter = delimiter
        self.total = sum(1 for _ in self._rows(None)) if count else None

    def __iter__(self) -> Iterator[tuple[dict[str, str], list[int]]]:
        return self._rows(self._cursor)

    def _rows(self, cursor: Sequence[int] | None) -> Iterator[tuple[dict[str, str], list[int]]]:
        with self._path.open("rb") as file:
            lines = _Lines(file, self._encoding)
            header = next(csv.reader(lines, delimiter=self._delimiter), None)
            if header is None:
                return
            done = 0
            if cursor is not None:
                done = cursor[0]
                lines.seek(cursor[1])
            for cells in csv.reader(lines, delimiter=self._delimiter):
                if not cells:
                    continue
                done += 1
                yield _row(header, cells), [done, lines.offset]


class _Lines:
    """Decoded lines of a file, and the offset behind the last one: the csv reader takes no line before it needs it."""

    def __init__(self, file: Any, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self.offset = 0

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        self.offset = offset

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line: bytes = self._file.readline()
        if not line:
            raise StopIteration
        # Only the first line may carry a byte order mark; elsewhere the same bytes are a character of the text.
        encoding = "utf-8" if self.offset and self._encoding == "utf-8-sig" else self._encoding
        self.offset += len(line)
        return line.decode(encoding)


def _row(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    row = dict(zip(header, cells, strict=False))
    for name in header[len(cells) :]:
        row[name] = ""
    if len(cells) > len(header):
        row[SURPLUS] = ",".join(cells[len(header) :])
    return row

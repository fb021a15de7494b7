"""Rows of CSV, resumed at the byte where the next one begins."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import methodcaller

from jobworker.errors import ConfigurationError, CursorMismatch, MalformedItem
from jobworker.iteration.enumerators.byte_lines import Lines, Source, can_seek, named, place

SURPLUS = "*"
"""Column under which `csv_rows` puts cells beyond the header's last, joined by commas."""


class csv_rows:  # noqa: N801  # reads as the verb it is: `return csv_rows(path, cursor)`
    """The rows of CSV below its header, as dicts of strings.

    ``source`` is a path, an open binary file, an object that can ``read`` and ``seek``, or chunks of bytes; it is
    closed when the walk ends. The cursor is [rows done, offset in bytes], so going on reads nothing again but the
    header; only a source that cannot seek is read from its beginning, without being parsed.

    Missing cells are empty, surplus ones are under `SURPLUS`, blank lines are no rows. ``header`` names the columns
    of a file that does not. ``encoding`` must be one whose line feed is the byte 0x0A (all but UTF-16 and UTF-32), and
    ``errors`` is what Python does about bytes that are none of it: "strict" or "replace". ``count`` reads the whole
    file once in front, to know the total. ``between`` is a range of bytes [start, stop] at whose edges rows end, as
    `split_csv` makes them: only its rows are walked, and numbered from 1.

    Raises:
        ConfigurationError: the encoding cannot be resumed in, or a source that can be read only once shall be counted.
        CursorMismatch: the cursor is another enumerator's, or the file is not what it was.
        MalformedItem: a row is no CSV, or no text in this encoding.
    """

    def __init__(  # noqa: PLR0913  # each says one thing of a file, by its name
        self,
        source: Source,
        cursor: Sequence[int] | None,
        *,
        encoding: str = "utf-8-sig",
        errors: str = "strict",
        delimiter: str = ",",
        header: Sequence[str] | None = None,
        count: bool = False,
        between: Sequence[int] | None = None,
    ) -> None:
        if not _one_byte_lines(encoding):
            raise ConfigurationError(f"csv_rows cannot resume in a file of {encoding}; convert it to UTF-8")
        if count and not can_seek(source):
            raise ConfigurationError(
                f"csv_rows: count=True reads twice, and {named(source)} can be read only once; leave it out, and set "
                "progress.total if you know it"
            )
        self._source = source
        self._start: int = 0 if between is None else between[0]
        self._stop: float = math.inf if between is None else between[1]
        self._done, self._offset = place("csv_rows", [0, self._start] if cursor is None else cursor)
        if not self._start <= self._offset <= self._stop:
            raise CursorMismatch(
                f"{named(source)}: the job was at byte {self._offset}, which does not lie between {self._start} and "
                f"{self._stop}: its slice is another one than it was. Delete the job and enqueue it anew"
            )
        self._encoding = encoding
        self._errors = errors
        self._delimiter = delimiter
        self._header = header
        self.total = self._count() if count else None

    def __iter__(self) -> Iterator[tuple[dict[str, str], list[int]]]:
        with Lines(self._source) as lines:
            yield from self._rows(lines, self._done, self._offset)

    def _count(self) -> int:
        with Lines(self._source, last=False) as lines:
            return sum(1 for _ in self._rows(lines, 0, self._start))

    def _rows(self, lines: Lines, done: int, offset: int) -> Iterator[tuple[dict[str, str], list[int]]]:
        header = self._header or self._first(lines)
        if header is None:
            return
        if offset:
            lines.go_on_at(offset)
        rows = csv.reader(self._text(lines), delimiter=self._delimiter)
        columns, begin, stop = len(header), lines.offset, self._stop
        if begin >= stop:
            return
        try:
            for cells in rows:
                begin = lines.offset
                if cells:
                    done += 1
                    even = len(cells) == columns
                    row = dict(zip(header, cells)) if even else _uneven(header, cells)  # noqa: B905  # asked already
                    yield row, [done, begin]
                if begin >= stop:
                    return
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._malformed(lines, f"row {done + 1}", begin, error) from error

    def _first(self, lines: Lines) -> list[str] | None:
        begin = lines.offset
        try:
            return next(csv.reader(self._text(lines), delimiter=self._delimiter), None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._malformed(lines, "the header", begin, error) from error

    def _text(self, lines: Lines) -> Iterator[str]:
        """Decoded one by one: the csv reader takes none before it needs it, so the offset stays behind its row."""
        encoding, errors = self._encoding, self._errors
        if encoding.lower().replace("_", "-") not in {"utf-8-sig", "utf8-sig"}:
            return map(_decoder(encoding, errors), lines)
        # Only the first line may carry a byte order mark; elsewhere the same bytes are a character of the text.
        first = islice(lines, 1 if lines.offset == 0 else 0)
        return chain(map(_decoder(encoding, errors), first), map(_decoder("utf-8", errors), lines))

    def _malformed(self, lines: Lines, what: str, begin: int, error: Exception) -> MalformedItem:
        where = f"{lines.name}: {what} at byte {begin}"
        if isinstance(error, UnicodeDecodeError):
            return MalformedItem(
                f"{where} is not {self._encoding} ({error.reason}); give csv_rows its encoding=, or errors='replace'"
            )
        return MalformedItem(f"{where} is no CSV: {error}")


def _decoder(encoding: str, errors: str) -> Callable[[bytes], str]:
    if (encoding, errors) == ("utf-8", "strict"):
        return bytes.decode  # these are its defaults, and without arguments it takes a quarter of the time
    return methodcaller("decode", encoding, errors)


def _one_byte_lines(encoding: str) -> bool:
    try:
        return len("\n\n".encode(encoding)) - len("\n".encode(encoding)) == 1
    except LookupError as error:
        raise ConfigurationError(f"csv_rows: there is no encoding {encoding!r}; try 'utf-8-sig' or 'cp1252'") from error


def _uneven(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    row = dict(zip(header, cells, strict=False))
    for name in header[len(cells) :]:
        row[name] = ""
    if len(cells) > len(header):
        row[SURPLUS] = ",".join(cells[len(header) :])
    return row

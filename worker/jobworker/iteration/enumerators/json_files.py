"""JSON lines (also called NDJSON), resumed at the byte where the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import orjson

from jobworker.errors import ConfigurationError, MalformedItem
from jobworker.iteration.enumerators.byte_lines import Lines, Source, can_seek, named, place

T = TypeVar("T")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class json_lines(Generic[T]):  # noqa: N801  # reads as the verb it is: `return json_lines(path, cursor)`
    """The values of a file of JSON lines in UTF-8; blank lines are none.

    ``source`` is what `csv_rows` takes, and the cursor is of the same form: [values done, offset in bytes]. ``decode``
    makes an item of a line; with ``decode=bytes`` each_iteration parses for itself, so that a line that is no JSON
    is an error of its row under ``on_error = "record"``. ``count`` reads the whole file once in front, to know the
    total.

    Raises:
        ConfigurationError: a source that can be read only once shall be counted.
        CursorMismatch: the cursor is another enumerator's, or the file is not what it was.
        MalformedItem: a line cannot be decoded.
    """

    def __init__(
        self,
        source: Source,
        cursor: Sequence[int] | None,
        *,
        decode: Callable[[bytes], T] = orjson.loads,
        count: bool = False,
    ) -> None:
        if count and not can_seek(source):
            raise ConfigurationError(
                f"json_lines: count=True reads twice, and {named(source)} can be read only once; leave it out, and set "
                "progress.total if you know it"
            )
        self._source = source
        self._done, self._offset = place("json_lines", cursor)
        self._decode = decode
        self.total = self._count() if count else None

    def __iter__(self) -> Iterator[tuple[T, list[int]]]:
        done, decode = self._done, self._decode
        with Lines(self._source) as lines:
            lines.go_on_at(self._offset)
            marked = lines.offset == 0
            for line in lines:
                value = line.strip()
                if marked:
                    value, marked = line.removeprefix(_BYTE_ORDER_MARK).strip(), False
                if not value:
                    continue
                done += 1
                try:
                    item = decode(value)
                except ValueError as error:
                    begin = lines.offset - len(line)
                    raise MalformedItem(
                        f"{lines.name}: value {done} at byte {begin}: {error}: {value!r:.80}"
                    ) from error
                yield item, [done, lines.offset]

    def _count(self) -> int:
        with Lines(self._source, last=False) as lines:
            return sum(1 for line in lines if line.strip() not in {b"", _BYTE_ORDER_MARK})

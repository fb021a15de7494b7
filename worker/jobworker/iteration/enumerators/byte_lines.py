"""Lines of bytes, each with the offset behind it, out of whatever bytes can be read from.

Where the source can seek, going on costs one seek and one read; from a stream that cannot, what was done is read and
thrown away, which is still cheaper than to parse it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from jobworker.errors import ConfigurationError, CursorMismatch
from jobworker.iteration.enumerators.cursors import is_count, refuse

_BUFFER_BYTES = 1 << 20  # one request to an object storage fetches that much


class Readable(Protocol):
    """An open binary file, an upload, or an object of yours that reads from a storage.

    With a method ``seek(offset)`` beside it a job goes on without reading again what was done.
    """

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...


Source = str | PathLike[str] | Readable | Iterable[bytes]


def place(enumerator: str, cursor: Any) -> tuple[int, int]:
    """The items done and the offset in bytes that a cursor of lines means.

    Raises:
        CursorMismatch: it is none.
    """
    match cursor:
        case None:
            return 0, 0
        case [done, offset] if is_count(done) and is_count(offset):
            return done, offset
        case _:
            return refuse(enumerator, cursor, "its cursor is [items done, offset in bytes]")


class Lines:
    """The lines of a source, as bytes with their line feeds. ``offset`` lies behind the last one.

    As a context manager it closes what it opened; with ``last`` also what it was given.
    """

    def __init__(self, source: Source, *, last: bool = True) -> None:
        self.name = named(source)
        self.offset = 0
        self._source = source
        self._last = last
        self._seekable = False
        self._file: io.BufferedReader = self._open()

    def go_on_at(self, offset: int) -> None:
        """Continue with the line that begins at this byte.

        Raises:
            CursorMismatch: no line begins there: the source is shorter than it was, or another one.
        """
        if offset == self.offset:
            return
        if offset < self.offset:
            raise CursorMismatch(f"{self.name}: no row begins at byte {offset}, for the header ends at {self.offset}")
        self._skip_to(offset - 1)
        before = self._file.read(1)
        if not before:
            raise CursorMismatch(
                f"{self.name} is shorter than it was: the job was at byte {offset}. Put the whole file back, or delete "
                "the job and enqueue it anew"
            )
        # A file may have ended without a line feed when the cursor was written, and have grown since.
        if before != b"\n" and self._file.peek(1)[:1] not in {b"", b"\r", b"\n"}:
            raise CursorMismatch(
                f"{self.name} is not what it was: the job was at byte {offset}, where no line begins now. Put the file "
                "back that it began with, or delete the job and enqueue it anew"
            )
        self.offset = offset

    def __iter__(self) -> Iterator[bytes]:
        # A generator, since a method called for each line is a tenth of what a row of CSV costs.
        readline = self._file.readline
        while line := readline():
            self.offset += len(line)
            yield line

    def blocks(self) -> Iterator[bytes]:
        """The bytes themselves, from here to the end."""
        while block := self._file.read(_BUFFER_BYTES):
            yield block

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._source, str | PathLike):
            self._file.close()
        elif self._last:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()

    def _open(self) -> io.BufferedReader:
        source: Any = self._source
        if isinstance(source, str | PathLike):
            self._seekable = True
            return Path(source).open("rb")
        if isinstance(source, io.TextIOBase):
            raise ConfigurationError(f"{self.name} is open for text, whose bytes cannot be counted; open it with 'rb'")
        if isinstance(source, bytes | bytearray):
            raise ConfigurationError("give bytes in memory as io.BytesIO(…), and a path as str or Path")
        self._seekable = can_seek(source)
        file = source if isinstance(source, io.BufferedReader) else io.BufferedReader(_Raw(source), _BUFFER_BYTES)
        if self._seekable:
            file.seek(0)
        return file

    def _skip_to(self, offset: int) -> None:
        if self._seekable:
            self._file.seek(offset)
            return
        rest = offset - self.offset
        while rest:
            skipped = len(self._file.read(min(rest, _BUFFER_BYTES)))
            if not skipped:
                return
            rest -= skipped


def named(source: Source) -> str:
    """How messages call it."""
    if isinstance(source, str | PathLike):
        return fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else f"the {type(source).__name__}"


def can_seek(source: Source) -> bool:
    """Whether it can be read from any byte on, more than once."""
    if isinstance(source, str | PathLike):
        return True
    asked = getattr(source, "seekable", None)
    return bool(asked()) if callable(asked) else hasattr(source, "seek")


class _Raw(io.RawIOBase):
    """Lets Python's own buffering find the lines in a reader or in chunks. Never closes what it reads from."""

    def __init__(self, source: Any) -> None:
        self._read = getattr(source, "read", None)
        self._chunks = None if self._read is not None else iter(source)
        self._source = source
        self._left = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return can_seek(self._source)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            self._source.seek(offset)
            self._position, self._left = offset, b""
        elif whence != io.SEEK_CUR or offset:
            raise io.UnsupportedOperation("only to an offset from the beginning")
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        # A chunk may be empty without being the last one; what a reader returns empty is its end.
        while not self._left:
            found = self._read(len(buffer)) if self._read is not None else next(self._chunks or iter(()), None)
            if found is None or (self._read is not None and not found):
                return 0
            if isinstance(found, str):
                raise ConfigurationError(
                    f"{named(self._source)} gave text instead of bytes; open it for binary reading"
                )
            self._left = bytes(found)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        self._position += size
        return size

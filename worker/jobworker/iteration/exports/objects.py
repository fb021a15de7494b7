"""Objects of a storage as walks read them: from any byte on, in ranges, and the same object from beginning to end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any

from jobworker.errors import CursorMismatch, StorageError
from jobworker.iteration.enumerators.cursors import refuse
from jobworker.iteration.enumerators.walking import Enumerator, async_pairs, closed, plain_pairs
from jobworker.iteration.exports.buckets import S3Bucket
from jobworker.iteration.exports.failures import ObjectChanged

_AT_ONCE = 4 << 20  # bytes of a request, once some were read one after the other: it costs as much as some MiB


class S3Object:
    """An object to read, for `csv_rows` and `json_lines`: nothing in front of the place where a job goes on is read.

    All of it is read from the object that was there at first, or from the one of this ``etag``: if it is replaced
    meanwhile, reading raises `CursorMismatch`. `unchanged` keeps the same promise over several runs of a job.

    Raises:
        StorageError: the storage refuses or does not answer.
    """

    def __init__(self, bucket: S3Bucket, key: str, *, etag: str | None = None) -> None:
        self.name = f"{key} in {bucket}"
        self._bucket = bucket
        self._key = key
        self._etag = etag
        self._size: int | None = None
        self._offset = 0
        self._ahead = b""
        self._window = 0

    @property
    def etag(self) -> str:
        """Which object it is."""
        self._look()
        return self._etag or ""

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self._look()

    def seek(self, offset: int) -> int:
        """Go on reading at this byte."""
        if offset != self._offset:
            self._offset, self._ahead, self._window = offset, b"", 0
        return offset

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes; none at the end. All that is left without a number."""
        rest = self._look() - self._offset
        wanted = rest if size < 0 else min(size, rest)
        if wanted <= 0:
            return b""
        if len(self._ahead) < wanted:
            self._fetch(min(rest, max(wanted, self._window)))
            # Whoever reads on wants more each time; whoever only wants the header does not wait for the rest.
            self._window = min(_AT_ONCE, 2 * max(wanted, self._window))
        found, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
        self._offset += len(found)
        return found

    def close(self) -> None:
        """Nothing is held; what was read ahead is dropped."""
        self._ahead = b""

    def _look(self) -> int:
        if self._size is None:
            found = self._bucket.find(self._key)
            if found is None:
                raise StorageError(f"there is no {self.name}; the job reads it when it is tried again and it is there")
            if self._etag is not None and found.etag != self._etag:
                raise self._changed()
            self._size, self._etag = found.size, found.etag
        return self._size

    def _fetch(self, size: int) -> None:
        have = len(self._ahead)
        try:
            self._ahead += self._bucket.get(self._key, etag=self._etag, begin=self._offset + have, size=size - have)
        except ObjectChanged as error:
            raise self._changed() from error

    def _changed(self) -> CursorMismatch:
        return CursorMismatch(
            f"{self.name} was replaced or removed while the job was reading it: rows might be skipped or done twice. "
            "Put the object back that it began with, or delete the job and enqueue it anew"
        )


class unchanged:  # noqa: N801  # reads as what it is: `return unchanged(bucket, key, csv_rows, cursor)`
    """The walk of an object that must stay the same through all runs of a job, by its ETag.

    ``walk(source, cursor)`` is `csv_rows`, `json_lines` or a function that calls them with more arguments.

    Raises:
        CursorMismatch: the cursor is another enumerator's, or the object was replaced since the job began.
        StorageError: the storage refuses or does not answer, or the object is not there.
    """

    def __init__(self, bucket: S3Bucket, key: str, walk: Callable[[S3Object, Any], Enumerator], cursor: Any) -> None:
        match cursor:
            case None:
                etag, at = None, None
            case {"etag": str() as etag, "at": at}:
                pass
            case _:
                refuse("unchanged", cursor, 'its cursor is {"etag": …, "at": cursor of the walk}')
        self._object = S3Object(bucket, key, etag=etag)
        self._etag = self._object.etag
        self._walk = walk(self._object, at)
        self.total: int | None = getattr(self._walk, "total", None)

    def __iter__(self) -> Generator[tuple[Any, dict[str, Any]], None, None]:
        pairs = plain_pairs(self._walk)
        try:
            for item, cursor in pairs:
                yield item, {"etag": self._etag, "at": cursor}
        finally:
            closed(pairs)

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, dict[str, Any]], None]:
        async with aclosing(async_pairs(self._walk)) as pairs:
            async for item, cursor in pairs:
                yield item, {"etag": self._etag, "at": cursor}

"""Fills one file in object storage, part by part, so that another worker can go on after SIGKILL.

The order is what keeps the file whole. The place of the job is written behind each part, and refused there if somebody
else holds the job by now: a worker that was stopped and comes back can overwrite at most the one part that it was
sending. Its ETag then differs from the one in the checkpoints of the new holder, completing is refused, and the file is
taken back to the part before. Before the parts are put together, it is written down that all of them are there: who
comes later only looks whether it has happened.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import quote

from jobworker.errors import ConfigurationError, NotHeld, StorageError
from jobworker.iteration.enumerators.walking import Enumerator, Interrupted, async_pairs, closed, plain_pairs
from jobworker.iteration.exports.buckets import S3Bucket
from jobworker.iteration.exports.failures import ObjectChanged, PartsDiffer, UploadGone
from jobworker.iteration.exports.formats import FileFormat, Gzipped, Plain
from jobworker.iteration.exports.leftovers import Leftovers
from jobworker.iteration.exports.position import Aside, Part, Position, first_difference
from jobworker.iteration.keeping import Kept
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.sink import Checkpoint, InThread

log = logging.getLogger("jobworker.exports")

JID = "jobworker-jid"
"""Metadata of the object: the job that wrote it."""

_MOST_PARTS = 10_000  # of one upload; S3's bound
_MOST_RESTARTS = 3  # times that parts may be lost before somebody has to look

_Steps = Iterator[Callable[[], None] | None]
"""What is to be done in a thread, one thing after the other; None for a checkpoint."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written, and where: all that does not change from run to run."""

    bucket: S3Bucket
    jid: str
    file: FileFormat
    gzip: bool
    content_type: str
    part_size: int
    name_key: Callable[[], Any]
    """How the object is called; asked once for the whole job."""


class Export:
    """The sink of one run."""

    def __init__(self, plan: Plan, position: Position) -> None:
        self._plan = plan
        self._bucket = plan.bucket
        self._leftovers = Leftovers(plan.bucket, plan.jid)
        self._position = position
        self._mark = {JID: quote(plan.jid)}
        self._fresh = position == Position()
        self._rest: Plain = Gzipped() if plan.gzip else Plain()
        self._to_bytes = plan.file.to_bytes()
        self._progress = JobProgress()
        self._pending: bytes | None = None  # of the present item, until the run has counted it
        self._counted = 0  # rows before the present item
        self._cursor: Any = None  # of the walk, behind them
        self._behind = False  # is there a row in memory that the position does not hold?
        self._over = False  # nothing of this run shall be made safe any more
        self._safe_at = time.monotonic()

    @property
    def key(self) -> str:
        """The name of the object."""
        key = self._position.key
        if key is None:
            key = self._named()
            self._position = replace(self._position, key=key)
        return key

    @property
    def age_seconds(self) -> float:
        """How long rows have been in memory alone."""
        return time.monotonic() - self._safe_at if self._behind else 0.0

    @property
    def cursor(self) -> dict[str, Any]:
        """Where the export stands."""
        return self._position.cursor()

    def begin(self, progress: JobProgress) -> Any:
        """Fetch what was put aside."""
        _ = self.key
        self._progress = progress
        aside = self._position.aside
        if aside is not None and aside.size:
            try:
                self._rest.restore(self._bucket.get(self._leftovers.aside(aside.place), etag=aside.etag))
            except ObjectChanged as error:
                log.warning("rows since the last part are walked again: what was put aside is gone: %s", error)
                self._position = replace(self._position, aside=None)
        if not self._position.begun:
            self._rest.add(self._plan.file.head())
        self._counted = self._position.rows
        progress.take_back(self._counted)
        self._cursor = self._position.walk
        self._safe_at = time.monotonic()
        return self._cursor

    def around(self, enumerator: Enumerator, checkpoint: Checkpoint, in_thread: InThread) -> _Walk:
        """The rows that are to come; behind the last one the object is there."""
        return _Walk(self, enumerator, checkpoint, in_thread)

    def take(self, row: Any) -> None:
        """What the present item is in the file; None for nothing. Of two calls for the same item the last counts."""
        self._pending = None if row is None else self._to_bytes(row)

    def put_aside(self, cursor: Any) -> None:
        """Store what is not enough for a part, so that a job that is always interrupted comes to its end."""
        if self._over or self._position.walked:
            return
        self.counted(cursor)
        if not self._behind:
            return
        try:
            self._save()
        except StorageError as error:
            log.warning("the rows since the last part or checkpoint are walked again: %s", error)

    def discard(self) -> None:
        """Remove the upload and what was put aside."""
        if not self._position.stored:
            self._over = True
            self._leftovers.remove(self._position.key, self._position.upload)

    def counted(self, cursor: Any) -> None:
        """If the run has counted the present item, its row is in the file from here on."""
        if self._progress.processed > self._counted:
            if self._pending is not None:
                self._rest.add(self._pending)
            if not self._behind:
                self._behind, self._safe_at = True, time.monotonic()
            self._pending, self._counted, self._cursor = None, self._progress.processed, cursor

    @property
    def is_full(self) -> bool:
        """Are there rows enough for a part?"""
        return len(self._rest.data) >= self._plan.part_size

    def part(self) -> _Steps:
        """Upload what is there as a part."""
        if self._position.upload is None:
            yield None  # a late worker would leave an upload that nobody knows
            yield self._begin_upload
            yield None
        yield lambda: self._upload(self._counted, self._cursor)
        yield None

    def finish(self) -> _Steps:
        """No item is to come: put the file together."""
        if not self._position.stored:
            if self._position.upload is None:
                yield None  # fenced: only who holds the job writes the object
                yield self._store_whole
            else:
                yield from self._last()
                yield self._complete
        if not self._fresh or self._position.upload is not None or self._position.aside is not None:
            yield lambda: self._leftovers.remove(None, None)

    @property
    def stored(self) -> bool:
        """Is the object there?"""
        return self._position.stored

    @property
    def walked(self) -> bool:
        """Are all rows in parts?"""
        return self._position.walked

    def failed(self) -> None:
        """Something went wrong outside of the items: what the memory holds is no ground to go on from."""
        self._over = True

    def _named(self) -> str:
        key = self._plan.name_key()
        if not isinstance(key, str) or not 0 < len(key.encode()) <= 1024:  # noqa: PLR2004  # S3's bound
            raise ConfigurationError(f"key returned {key!r:.80}; an object's key is a text of 1 to 1,024 bytes")
        return key

    def _last(self) -> _Steps:
        if not self._position.walked:
            if self._rest.whole():
                yield lambda: self._upload(self._progress.processed, self._cursor, walked=True)
            else:
                self._position = replace(self._position, walked=True, aside=None)
        yield None

    def _object(self) -> dict[str, Any]:
        plan = self._plan
        described: dict[str, Any] = {"ContentType": plan.content_type, "Metadata": self._mark}
        return {**described, **plan.bucket.stored_with}

    def _begin_upload(self) -> None:
        upload = self._bucket.begin_upload(self.key, **self._object())
        self._leftovers.note(self.key, upload)
        self._position = replace(self._position, upload=upload)

    def _upload(self, rows: int, cursor: Any, *, walked: bool = False) -> None:
        position, data = self._position, self._rest.whole()
        number = len(position.parts) + 1
        if number > _MOST_PARTS:
            raise StorageError(
                f"{self.key} has {_MOST_PARTS:,} parts, and the storage takes no more: let the job have a part_size of "
                f"more than {self._plan.part_size >> 20} MiB, delete this one and enqueue it anew"
            )
        try:
            etag = self._bucket.upload_part(self.key, position.upload or "", number, data)
        except UploadGone as error:
            self._restart(0, error)
        self._position = replace(position.with_part(Part(etag, len(data), rows, cursor)), walked=walked)
        self._rest.clear()
        self._saved()

    def _store_whole(self) -> None:
        data = self._rest.whole()
        etag = self._bucket.put(self.key, data, **self._object())
        whole = Part(etag, len(data), self._progress.processed, self._cursor)
        self._position = replace(self._position.with_part(whole), walked=True, stored=True)
        self._saved()

    def _complete(self) -> None:
        position = self._position
        upload = position.upload or ""
        try:
            self._bucket.complete_upload(self.key, upload, [part.etag for part in position.parts])
        except UploadGone as error:
            log.debug("was an earlier run killed behind this? %s", error)
        except PartsDiffer as error:
            same = first_difference(position.parts, self._bucket.parts(self.key, upload))
            self._restart(min(same, len(position.parts) - 1), error)
        # Also where it was answered that all is well: some storages say so for an upload that is gone, as long as any
        # object of this name is there.
        if not self._is_there():
            self._restart(0, StorageError(f"{self.key} is not the file that was completed, and its upload is gone"))
        self._position = replace(position, stored=True)

    def _is_there(self) -> bool:
        """Is the object what this job wrote? By its size alone where the storage does not give back who wrote it."""
        found = self._bucket.find(self.key)
        mine = self._mark[JID]
        return found is not None and found.size == self._position.size and found.metadata.get(JID, mine) == mine

    def _restart(self, parts: int, error: StorageError) -> NoReturn:
        """Take the file back to so many parts, and go on from there in another run.

        Raises:
            Interrupted: as a rule.
            StorageError: it happened too often.
        """
        self._position = self._position.back_to(parts)
        self._over = True
        if self._position.restarts > _MOST_RESTARTS:
            raise StorageError(
                f"{self.key} lost parts {self._position.restarts} times, the last time so: {error} Look for a "
                "lifecycle rule that aborts uploads before this export is over, and for other writers of the same key"
            ) from error
        log.warning("the export goes on from part %d again, since parts of it were lost: %s", parts + 1, error)
        raise Interrupted

    def _save(self) -> None:
        last = self._position.aside
        place, data = 1 - last.place if last is not None else 0, self._rest.whole()
        etag = self._bucket.put(self._leftovers.aside(place), data, Metadata=self._mark) if data else ""
        self._position = replace(self._position, aside=Aside(place, etag, len(data), self._counted, self._cursor))
        self._saved()

    def _saved(self) -> None:
        self._behind = False
        self._safe_at = time.monotonic()


class _Walk:
    """The user's walk, with the export's work between two items. Can be walked both ways, if the user's can."""

    def __init__(self, export: Export, enumerator: Enumerator, checkpoint: Checkpoint, in_thread: InThread) -> None:
        self._export = export
        self._enumerator = enumerator
        self._checkpoint = checkpoint
        self._in_thread = in_thread
        self._loop = asyncio.get_running_loop()
        self.total: int | None = getattr(enumerator, "total", None)

    def __iter__(self) -> Generator[tuple[Any, Any], None, None]:
        export = self._export
        if not export.walked:
            pairs = plain_pairs(self._enumerator)
            try:
                for item, cursor in pairs:
                    yield item, cursor
                    export.counted(cursor)
                    if export.is_full:
                        self._do(export.part())
            finally:
                closed(pairs)
        self._do(export.finish())

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, Any], None]:
        export = self._export
        if not export.walked:
            async with aclosing(async_pairs(self._enumerator)) as pairs:
                async for item, cursor in pairs:
                    yield item, cursor
                    export.counted(cursor)
                    if export.is_full:
                        await self._do_async(export.part())
        await self._do_async(export.finish())

    def _do(self, steps: _Steps) -> None:
        try:
            for step in steps:
                if step is None:
                    asyncio.run_coroutine_threadsafe(self._fence(), self._loop).result()
                else:
                    step()
        except (StorageError, NotHeld):
            self._export.failed()
            raise

    async def _do_async(self, steps: _Steps) -> None:
        try:
            for step in steps:
                if step is None:
                    await self._fence()
                else:
                    await self._in_thread(step)
        except (StorageError, NotHeld, asyncio.CancelledError):
            self._export.failed()
            raise

    async def _fence(self) -> None:
        """Write the place of the job down. Behind it this run still held the job, and is to go on."""
        if await self._checkpoint(wait=True) is not Kept.WRITTEN:
            raise Interrupted

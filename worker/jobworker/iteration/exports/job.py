"""The base class of jobs that write a file to object storage, which appears there complete or not at all."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from jobworker.errors import ConfigurationError
from jobworker.iteration.exports.buckets import S3Bucket
from jobworker.iteration.exports.enqueueing import EnqueuedByRow
from jobworker.iteration.exports.formats import CsvFile, FileFormat
from jobworker.iteration.exports.leftovers import Leftovers
from jobworker.iteration.exports.position import Position
from jobworker.iteration.exports.upload import Export, Plan
from jobworker.jobs.context import context
from jobworker.protocol.deaths import DeadJob

SMALLEST_PART = 5 << 20
"""Bytes; S3's bound for all parts but the last."""


class ExportingJob(EnqueuedByRow):
    """A long job that writes a row of a file for each item.

    Define ``destination``, ``build_enumerator`` as in any iterating job, and ``row(self, item, *args)``, async or
    plain: what the item is in the file, as ``file`` takes it, None for nothing. Leave it out where items are rows.

    A file that is smaller than one part is stored by one request at the end. A larger one is uploaded in parts, and
    each part is a checkpoint. Rows that are not enough for a part are put aside every ``checkpoint_seconds`` and when
    the job is interrupted. The walk has to give the same items in the same order from a cursor on, whoever walks.
    """

    destination: ClassVar[S3Bucket]

    file: ClassVar[FileFormat] = CsvFile()
    """`CsvFile`, `JsonLinesFile`, `RawFile`, or a format of your own."""

    gzip: ClassVar[bool] = False
    """Compress it: the object is a gzip file, and is called so."""

    content_type: ClassVar[str | None] = None
    """By default that of the file."""

    part_size: ClassVar[int] = 8 << 20
    """Bytes of a part, and what a running job needs of memory, about twice. A file has at most 10,000 parts."""

    checkpoint_seconds: ClassVar[float] = 15.0
    """The longest time that rows are in memory alone: what a SIGKILL may repeat."""

    row: Any
    _export: Export

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        if "each_iteration" not in vars(cls) and not vars(cls).keys().isdisjoint({"row", "build_enumerator"}):
            cls.each_iteration = _each_iteration(cls)

    def key(self, *args: Any) -> str:
        """The name of the object, from the job's arguments; asked once for all runs of the job."""
        del args
        current = context()
        return f"{current.job_class}/{current.jid}{self.file.suffix}{'.gz' if self.gzip else ''}"

    @property
    def is_stored(self) -> bool:
        """Is the file there? Not yet while the job runs, and never where it was cancelled or aborted."""
        return self._export.stored

    @property
    def stored_key(self) -> str:
        """What the object is called."""
        return self._export.key

    def link(self, life: timedelta | float, *, filename: str | None = None) -> str:
        """An address under which the file can be read for so long, seven days at most; see `S3Bucket.link`.

        Raises:
            LookupError: the file is not there; ask `is_stored` in on_complete.
            ValueError: the time is out of range.
        """
        if not self._export.stored:
            raise LookupError("the file is not there: in on_complete, ask is_stored whether the job was not cancelled")
        return self.destination.link(self._export.key, life, filename=filename)

    def open_sink(self, cursor: Any, args: Sequence[Any]) -> Export:
        """For the run: the file, from where the last run left it."""
        bucket = getattr(self, "destination", None)
        if not isinstance(bucket, S3Bucket):
            raise ConfigurationError(f"{type(self).__name__}: set destination = S3Bucket(…), where the file shall go")
        if self.part_size < SMALLEST_PART:
            raise ConfigurationError(
                f"{type(self).__name__}: part_size is {self.part_size}; the storage takes 5 MiB or more"
            )
        plan = Plan(
            bucket,
            context().jid,
            self.file,
            self.gzip,
            self.content_type or ("application/gzip" if self.gzip else self.file.content_type),
            self.part_size,
            lambda: self.key(*args),
        )
        self._export = Export(plan, Position.read(cursor))
        return self._export

    @classmethod
    def clean_up_after(cls, dead: DeadJob) -> None:
        """The job failed for good: remove what it left unfinished in the storage."""
        bucket = getattr(cls, "destination", None)
        if isinstance(bucket, S3Bucket):
            Leftovers(bucket, dead.jid).remove_noted()


def _each_iteration(cls: type[ExportingJob]) -> Any:
    """Async if anything of the job is. It takes what ``row`` takes, or else ``build_enumerator``: what is enqueued."""
    row = getattr(cls, "row", None)
    build = getattr(cls, "build_enumerator", None)

    async def take_async(self: ExportingJob, item: Any, *args: Any) -> None:
        made = item if row is None else self.row(item, *args)
        self._export.take(await made if inspect.isawaitable(made) else made)

    def take(self: ExportingJob, item: Any, *args: Any) -> None:
        self._export.take(item if row is None else self.row(item, *args))

    is_async = any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in (row, build))
    chosen: Any = take_async if is_async else take
    if row is not None:
        chosen.__signature__ = inspect.signature(row)
    elif build is not None:
        own = inspect.signature(take)
        of_item = list(own.parameters.values())[:2]
        of_job = [each for each in inspect.signature(build).parameters.values() if each.name not in {"self", "cursor"}]
        chosen.__signature__ = own.replace(parameters=[*of_item, *of_job])
    return chosen

"""Exports of the tests, of which a test says what happens at a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from jobworker import ExportingJob, RawFile, S3Bucket, list_items
from jobworker.iteration.exports.job import SMALLEST_PART
from tests.s3_server import BUCKET

HALF = SMALLEST_PART // 2 + 1
"""Bytes of a row: two make a part."""

KEY = "rows.bin"


def rows(number: int) -> bytes:
    """The file of so many rows."""
    return b"".join(row(each) for each in range(number))


def row(number: int) -> bytes:
    return bytes([65 + number]) * HALF


class Rows(ExportingJob):
    """Derive from it, so that each test has hooks of its own."""

    destination = S3Bucket(BUCKET)
    file = RawFile()
    part_size = SMALLEST_PART
    at: ClassVar[dict[int, Callable[[], Any]]]
    made: ClassVar[list[int]]
    ended: ClassVar[list[int]]
    """How many rows were done at the end of the job."""

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        cls.at, cls.made, cls.ended = {}, [], []

    def key(self, number: int) -> str:  # noqa: ARG002  # the same for all
        return KEY

    def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(number), cursor)

    def row(self, item: int, number: int) -> bytes:  # noqa: ARG002  # each item gets the job's arguments
        if item in self.at:
            self.at[item]()
        self.made.append(item)
        return row(item)

    def on_stop(self) -> None:
        self.ended.append(self.progress.processed)

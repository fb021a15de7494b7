"""Exports that are interrupted and killed everywhere, on a real server: the file is the same, and nothing is left."""

from __future__ import annotations

import gzip
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobworker import CsvFile, ExportingJob, IteratingJob, RawFile, S3Bucket, list_items
from jobworker.iteration.exports.job import SMALLEST_PART
from jobworker.testing import simulate_drain, simulate_drain_sync
from tests.s3_server import BUCKET, S3Server

_HALF = SMALLEST_PART // 2 + 1
"""Bytes of a large row: two make a part."""


class Large(ExportingJob):
    """Two whole parts and a small one."""

    destination = S3Bucket(BUCKET)
    file = RawFile(first=b"rows:\n")
    part_size = SMALLEST_PART

    def key(self, *args: Any) -> str:  # noqa: ARG002  # the same for all
        return "large.txt"

    def build_enumerator(self, rows: int, *, cursor: int | None) -> Any:
        return list_items(range(rows), cursor)

    def row(self, item: int, rows: int) -> Any:  # noqa: ARG002  # each item gets the job's arguments
        return bytes([65 + item]) * _HALF


class LargeAsync(Large):
    """The same on the event loop, from an async generator."""

    async def build_enumerator(self, rows: int, *, cursor: int | None) -> Any:
        return self.numbers(rows, cursor or 0)

    async def numbers(self, rows: int, begin: int) -> AsyncIterator[tuple[int, int]]:
        for number in range(begin, rows):
            yield number, number + 1

    async def row(self, item: int, rows: int) -> bytes:  # noqa: ARG002  # as above
        return bytes([65 + item]) * _HALF


class LargePressed(Large):
    """Rows that cannot be pressed into less."""

    gzip = True

    def row(self, item: int, rows: int) -> bytes:  # noqa: ARG002  # as above
        return random.Random(item).randbytes(_HALF)


class Small(ExportingJob):
    """One request at the end; every third item is no row."""

    destination = S3Bucket(BUCKET)
    file = CsvFile(header=["number", "square"])

    def key(self, *args: Any) -> str:  # noqa: ARG002  # as above
        return "small.csv"

    def build_enumerator(self, rows: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(rows), cursor)

    def row(self, item: int, rows: int) -> list[int] | None:  # noqa: ARG002  # as above
        return None if item % 3 == 2 else [item, item * item]


class SmallPressed(Small):
    """The same, compressed."""

    gzip = True

    def key(self, *args: Any) -> str:  # noqa: ARG002  # as above
        return "small.csv.gz"


def large(rows: int) -> bytes:
    return b"rows:\n" + b"".join(bytes([65 + item]) * _HALF for item in range(rows))


SMALL = b"number,square\r\n0,0\r\n1,1\r\n3,9\r\n4,16\r\n"


def left(s3: S3Server, key: str) -> Any:
    """The file, and whatever else there is."""
    objects = s3.objects()
    found = s3.read(key) if key in objects else None
    return found and (gzip.decompress(found) if key.endswith(".gz") else found), sorted(objects), s3.uploads()


def all_or_nothing(whole: Any, found: Any) -> bool:
    """Of a job that was cancelled: the file if that came too late, and else nothing at all."""
    return bool(found == whole or (not found[0] and found[1:] == ([], [])))


@pytest.mark.parametrize(("job", "key"), [(Small, "small.csv"), (SmallPressed, "small.csv.gz")])
def test_short_export_is_the_same_wherever_it_is_killed(s3: S3Server, job: type[IteratingJob], key: str) -> None:
    def effects() -> Any:
        return left(s3, key)[0]

    simulated = simulate_drain_sync(job, 6, reset=s3.empty, effects=effects, crash=True)
    assert simulated.crashes > 20
    assert effects() == SMALL


def test_short_export_that_is_interrupted_or_cancelled_anywhere_leaves_nothing_but_its_file(s3: S3Server) -> None:
    seen: list[Any] = []

    def effects() -> Any:
        seen.append(left(s3, "small.csv"))
        return seen[-1]

    simulated = simulate_drain_sync(Small, 6, reset=s3.empty, effects=effects, cancel=all_or_nothing)
    assert seen[0] == (SMALL, ["small.csv"], [])
    assert simulated.cancellations > 5


@pytest.mark.parametrize("job", [Large, LargeAsync])
async def test_large_export_is_the_same_wherever_it_is_killed(s3: S3Server, job: type[Large]) -> None:
    def effects() -> bool:
        return bool(left(s3, "large.txt")[0] == large(5))

    simulated = await simulate_drain(job, 5, reset=s3.empty, effects=effects, crash=True, most=12)
    assert simulated.crashes >= 10
    assert effects()


async def test_compressed_export_holds_the_same_wherever_it_is_killed(s3: S3Server) -> None:
    whole = b"rows:\n" + b"".join(random.Random(item).randbytes(_HALF) for item in range(4))

    def effects() -> bool:
        return gzip.decompress(s3.read("large.txt")) == whole

    await simulate_drain(LargePressed, 4, reset=s3.empty, effects=effects, crash=True, most=6)
    assert effects()


async def test_large_export_that_is_interrupted_or_cancelled_anywhere_leaves_nothing_but_its_file(s3: S3Server) -> None:
    seen: list[Any] = []

    def effects() -> Any:
        found, objects, uploads = left(s3, "large.txt")
        seen.append((found == large(5), objects, uploads))
        return seen[-1]

    simulated = await simulate_drain(Large, 5, reset=s3.empty, effects=effects, cancel=all_or_nothing, most=8)
    assert seen[0] == (True, ["large.txt"], [])
    assert simulated.cancellations > 4

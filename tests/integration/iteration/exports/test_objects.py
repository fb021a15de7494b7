"""Walks over objects of a real storage: by ranges, resumed anywhere, and never over two objects as if they were one."""

from __future__ import annotations

import pytest

from jobworker import CursorMismatch, S3Bucket, S3Object, StorageError, csv_rows, json_lines, unchanged
from jobworker.iteration.exports import objects
from tests.resuming import resumed_everywhere, travelled
from tests.s3_server import BUCKET, S3Server

CSV = b'name,note\nada,"two\nlines"\nbob,\neve,x\n'


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small object takes several."""
    monkeypatch.setattr(objects, "_AT_ONCE", 7)


class CountingBucket(S3Bucket):
    """Counts the bytes that were asked for."""

    read = 0

    def get(self, key: str, *, etag: str | None = None, begin: int = 0, size: int | None = None) -> bytes:
        found = super().get(key, etag=etag, begin=begin, size=size)
        CountingBucket.read += len(found)
        return found


@pytest.mark.usefixtures("small_requests")
def test_csv_is_resumed_anywhere(bucket: S3Bucket) -> None:
    bucket.put("in.csv", CSV)
    rows = resumed_everywhere(lambda cursor: csv_rows(S3Object(bucket, "in.csv"), cursor, count=True))
    assert rows == [{"name": "ada", "note": "two\nlines"}, {"name": "bob", "note": ""}, {"name": "eve", "note": "x"}]


@pytest.mark.usefixtures("small_requests")
def test_json_lines_of_one_object_are_resumed_anywhere(bucket: S3Bucket) -> None:
    bucket.put("in.jsonl", b'{"id": 1}\n{"id": 2}\n[3]')
    assert resumed_everywhere(lambda cursor: unchanged(bucket, "in.jsonl", json_lines, cursor)) == [
        {"id": 1},
        {"id": 2},
        [3],
    ]


@pytest.mark.usefixtures("s3")
def test_nothing_in_front_of_the_place_is_read_but_the_header() -> None:
    bucket = CountingBucket(BUCKET)
    whole = b"n,text\n" + b"".join(b"%07d,%s\n" % (row, b"x" * 91) for row in range(200_000))
    bucket.put("large.csv", whole)
    CountingBucket.read = 0
    row, cursor = next(iter(csv_rows(S3Object(bucket, "large.csv"), [199_990, 7 + 199_990 * 100])))
    assert (row["n"], cursor) == ("0199990", [199_991, 7 + 199_991 * 100])
    assert CountingBucket.read < len(whole) / 3


@pytest.mark.usefixtures("small_requests")
def test_object_that_is_replaced_under_a_walk_ends_it(bucket: S3Bucket) -> None:
    bucket.put("in.csv", CSV)
    source = S3Object(bucket, "in.csv")
    assert source.read(3) == b"nam"
    bucket.put("in.csv", CSV.upper())
    with pytest.raises(CursorMismatch, match=r"in.csv in bucket reports .* was replaced or removed"):
        source.read(4)


def test_object_that_is_replaced_between_two_runs_ends_the_job(bucket: S3Bucket) -> None:
    bucket.put("in.csv", CSV)
    _, cursor = next(iter(unchanged(bucket, "in.csv", csv_rows, None)))
    bucket.put("in.csv", CSV.upper())
    with pytest.raises(CursorMismatch, match="Put the object back that it began with"):
        unchanged(bucket, "in.csv", csv_rows, travelled(cursor))
    bucket.put("in.csv", CSV)
    assert [row["name"] for row, _ in unchanged(bucket, "in.csv", csv_rows, travelled(cursor))] == ["bob", "eve"]


def test_object_that_is_not_there_is_told(bucket: S3Bucket) -> None:
    with pytest.raises(StorageError, match="there is no nothing in bucket reports"):
        unchanged(bucket, "nothing", csv_rows, None)


def test_cursor_of_another_walk_is_refused(s3: S3Server, bucket: S3Bucket) -> None:
    with pytest.raises(CursorMismatch, match=r"unchanged cannot go on from the cursor \[3, 40\]"):
        unchanged(bucket, "in.csv", csv_rows, [3, 40])
    assert s3.objects() == {}


def test_whole_object_can_be_read_at_once(bucket: S3Bucket) -> None:
    bucket.put("in.csv", CSV)
    source = S3Object(bucket, "in.csv")
    assert (source.size, source.read(), source.read(), source.seek(5), source.read(4)) == (
        len(CSV), CSV, b"", 5, b"note",
    )  # fmt: skip

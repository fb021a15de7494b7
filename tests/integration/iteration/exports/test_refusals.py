"""What becomes of an export when the storage refuses, is away, or the job fails for good."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobworker import App, CsvFile, ExportingJob, JsonLinesFile, S3Bucket, StorageError, list_items
from jobworker.iteration.exports import buckets
from jobworker.testing import capture
from tests.integration.iteration.exports.files import KEY, Rows, rows
from tests.s3_server import BUCKET, S3Server


class Lost(Exception):
    """Of a row."""


def lose() -> None:
    raise Lost("row")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try, so that a test does not wait for the client's pauses."""
    monkeypatch.setattr(buckets, "_TRIES", 1)


def exporting(**attributes: Any) -> tuple[App, type[Rows]]:
    app = App()
    job: type[Rows] = type("Fresh", (Rows,), attributes)
    return app, app.job(name="Export")(job)


def test_link_reads_the_file_under_the_name_that_people_get(s3: S3Server) -> None:
    app = App()
    links: list[str] = []

    @app.job
    class _Export(ExportingJob):
        destination = S3Bucket(BUCKET)
        file = JsonLinesFile()

        def build_enumerator(self, month: str, *, cursor: int | None) -> list_items[str]:  # noqa: ARG002  # as in each_iteration
            return list_items(["a", "b"], cursor)

        def row(self, item: str, month: str) -> dict[str, str]:
            return {"month": month, "item": item}

        def on_complete(self) -> None:
            links.append(self.link(60, filename='orders "öst".jsonl'))

    with capture(app) as jobs:
        jid = _Export.enqueue_sync("2026-11")
        jobs.run_sync()
    assert s3.objects() == {f"_Export/{jid}.jsonl": 62}
    with urllib.request.urlopen(links[0], timeout=20) as answer:  # noqa: S310  # our own server
        assert answer.read() == b'{"month":"2026-11","item":"a"}\n{"month":"2026-11","item":"b"}\n'
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="orders __st_.jsonl"'


def test_no_rows_are_a_file_with_its_header(s3: S3Server) -> None:
    app, job = exporting(file=CsvFile(header=["a", "b"], encoding="utf-8-sig"))
    with capture(app) as jobs:
        job.enqueue_sync(0)
        jobs.run_sync()
    assert s3.read(KEY) == b"\xef\xbb\xbfa,b\r\n"


@pytest.mark.usefixtures("impatient")
def test_storage_that_is_away_is_told_and_the_job_goes_on_from_its_last_part(s3: S3Server, tmp_path: Path) -> None:
    app, job = exporting()
    with S3Server(tmp_path) as server:
        job.destination = S3Bucket(BUCKET, endpoint=server.url)
        job.at = {3: server.kill}
        with capture(app, raise_errors=False) as jobs:
            job.enqueue_sync(5)
            jobs.run_sync()
            (waiting,) = jobs.retries
            assert "could not store part 2 of rows.bin in bucket reports at http://127.0.0.1" in str(waiting.error)
            assert "The job goes on from here when it is tried again" in str(waiting.error)
            job.at, job.made = {}, []
            server.start()
            jobs.advance_sync(hours=1)
            assert jobs.retries == []
        assert (job.made, job.ended) == ([2, 3, 4], [5])
        assert server.read(KEY) == rows(5)


@pytest.mark.parametrize("number", [2, 5])
def test_file_of_the_same_name_is_there_until_the_new_one_is_complete(s3: S3Server, number: int) -> None:
    app, job = exporting(checkpoint_seconds=0.0)
    s3.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"of yesterday")
    seen: list[bytes] = []
    job.at = dict.fromkeys(range(number), lambda: seen.append(s3.read(KEY)))
    with capture(app) as jobs:
        job.enqueue_sync(number)
        jobs.run_sync()
    assert seen == [b"of yesterday"] * number
    assert s3.read(KEY) == rows(number)


def test_row_that_raises_is_the_first_of_the_next_try_and_no_other_is_made_again(s3: S3Server) -> None:
    app, job = exporting()
    job.at = {3: lose}
    with capture(app, raise_errors=False) as jobs:
        jid = job.enqueue_sync(4)
        jobs.run_sync()
        assert [waiting.error for waiting in jobs.retries] == ["Lost: row"]
        assert sorted(s3.objects()) == [f"jobworker-unfinished/{jid}/rest-0", f"jobworker-unfinished/{jid}/upload"]
        job.at = {}
        jobs.advance_sync(hours=1)
    assert job.made == [0, 1, 2, 3]
    assert s3.read(KEY) == rows(4)
    assert list(s3.objects()) == [KEY]


@pytest.mark.parametrize("handler", [True, False])
def test_job_that_fails_for_good_leaves_nothing_in_the_storage(s3: S3Server, handler: bool) -> None:  # noqa: FBT001  # a case
    app = App()
    dead: list[Any] = []
    job: type[Rows] = type("Fresh", (Rows,), {})
    app.job(name="Export", retry=0, retries_exhausted=dead.append if handler else None)(job)
    job.at = {3: lose}
    with capture(app, raise_errors=False) as jobs:
        job.enqueue_sync(4)
        jobs.run_sync()
        assert len(jobs.dead) == 1
    assert len(dead) == handler
    assert (s3.objects(), s3.uploads()) == ({}, [])


def test_job_that_is_cancelled_leaves_nothing_in_the_storage_and_has_no_link(s3: S3Server) -> None:
    def on_complete(self: Rows) -> None:
        assert not self.is_stored
        with pytest.raises(LookupError, match="the file is not there"):
            self.link(60)

    app, job = exporting(on_complete=on_complete)
    with capture(app) as jobs:
        jid = job.enqueue_sync(6)
        job.at = {3: lambda: jobs.cancel(jid)}
        jobs.run_sync()
        assert (jobs.waiting, jobs.retries) == ([], [])
    assert job.made == [0, 1, 2, 3]
    assert (s3.objects(), s3.uploads()) == ({}, [])


class CancellingBucket(S3Bucket):
    """Somebody cancels the job while its last part is on its way."""

    cancel: ClassVar[Callable[[], Any]]

    def upload_part(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        etag = super().upload_part(key, upload, number, data)
        if number == 2:
            CancellingBucket.cancel()
        return etag


def test_job_that_is_cancelled_before_its_file_is_put_together_has_none(s3: S3Server) -> None:
    app, job = exporting(destination=CancellingBucket(BUCKET))
    with capture(app) as jobs:
        jid = job.enqueue_sync(3)
        CancellingBucket.cancel = lambda: jobs.cancel(jid)
        jobs.run_sync()
    assert job.made == [0, 1, 2]
    assert (s3.objects(), s3.uploads()) == ({}, [])


def test_job_that_is_paused_goes_on_with_what_it_put_aside(s3: S3Server) -> None:
    app, job = exporting()
    with capture(app) as jobs:
        jid = job.enqueue_sync(6)
        job.at = {2: lambda: jobs.pause(jid)}
        jobs.run_sync()
        assert (len(jobs.paused), job.made) == (1, [0, 1, 2])
        assert s3.objects()[f"jobworker-unfinished/{jid}/rest-0"] == len(rows(1))
        jobs.resume(jid)
        jobs.run_sync()
    assert job.made == [0, 1, 2, 3, 4, 5]
    assert s3.read(KEY) == rows(6)


def test_checkpoint_that_is_due_puts_aside_what_is_in_memory(s3: S3Server) -> None:
    app, job = exporting(checkpoint_seconds=0.0)
    found = []
    job.at = {1: lambda: found.append(s3.objects()), 2: lambda: found.append(s3.objects())}
    with capture(app) as jobs:
        jid = job.enqueue_sync(3)
        jobs.run_sync()
    folder = f"jobworker-unfinished/{jid}"
    assert found[0] == {f"{folder}/rest-0": len(rows(1))}
    assert f"{folder}/rest-1" in found[1]
    assert list(s3.objects()) == [KEY]


def test_job_that_aborts_itself_leaves_nothing_in_the_storage(s3: S3Server) -> None:
    app, job = exporting()
    job.at = {3: lambda: job().abort()}
    with capture(app) as jobs:
        job.enqueue_sync(4)
        jobs.run_sync()
    assert job.made == [0, 1, 2]
    assert (s3.objects(), s3.uploads()) == ({}, [])


def test_recorded_errors_leave_their_rows_out(s3: S3Server) -> None:
    app, job = exporting(on_error="record")
    job.at = {1: lose}
    with capture(app) as jobs:
        job.enqueue_sync(4)
        jobs.run_sync()
    assert s3.read(KEY) == rows(4).replace(rows(2)[len(rows(1)) :], b"")


def test_item_that_is_tried_again_leaves_one_row(s3: S3Server) -> None:
    def around_iteration(self: Rows) -> Any:
        yield
        if self.made == [0, 1]:
            raise Lost("behind the row")

    app, job = exporting(item_retries=1, item_retry_seconds=0.0, around_iteration=around_iteration)
    with capture(app) as jobs:
        job.enqueue_sync(3)
        jobs.run_sync()
    assert job.made == [0, 1, 1, 2]
    assert s3.read(KEY) == rows(3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("bucket", "environment", "message"),
    [
        ("nowhere", {}, "NoSuchBucket: The specified bucket does not exist. Create the bucket, or correct its name"),
        (BUCKET, {"AWS_SECRET_ACCESS_KEY": "x"}, "SignatureDoesNotMatch: .* Renew the credentials of this worker"),
        (BUCKET, {"AWS_ACCESS_KEY_ID": ""}, "Unable to locate credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET"),
        (BUCKET, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, r"Could not connect .* \(after several tries\)"),
    ],
)
def test_refusal_says_what_to_do(
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bucket: str,
    environment: dict[str, str],
    message: str,
) -> None:
    # Whoever runs the tests may have credentials of their own.
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    app, job = exporting(destination=S3Bucket(bucket))
    with capture(app) as jobs:
        job.enqueue_sync(1)
        with pytest.raises(StorageError, match=message):
            jobs.run_sync()

"""Parts that are lost or overwritten under an export, and runs that came late: the file is whole all the same."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from jobworker import App, S3Bucket, StorageError
from jobworker.iteration.exports.buckets import Found
from jobworker.iteration.exports.failures import UploadGone
from jobworker.testing import capture
from tests.cutting_proxy import CuttingProxy
from tests.integration.iteration.exports.busy_proxy import BusyProxy
from tests.integration.iteration.exports.files import HALF, KEY, Rows, rows
from tests.s3_server import BUCKET, S3Server


def exporting(**attributes: Any) -> tuple[App, type[Rows]]:
    app = App()
    job: type[Rows] = type("Fresh", (Rows,), attributes)
    return app, app.job(name="Export")(job)


def upload(s3: S3Server) -> dict[str, str]:
    (found,) = s3.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    return {"Bucket": BUCKET, "Key": KEY, "UploadId": found["UploadId"]}


def run(app: App, job: type[Rows], number: int) -> None:
    with capture(app) as jobs:
        job.enqueue_sync(number)
        jobs.run_all_sync()


def test_part_that_a_late_worker_overwrote_is_written_anew_and_so_are_those_behind_it(
    s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    app, job = exporting()

    def overwrite() -> None:
        if 6 not in job.made:
            s3.client.upload_part(**upload(s3), PartNumber=2, Body=b"z" * 2 * HALF)

    job.at = {6: overwrite}
    with caplog.at_level(logging.WARNING):
        run(app, job, 7)
    assert job.made == [0, 1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6]
    assert s3.read(KEY) == rows(7)
    assert (list(s3.objects()), s3.uploads()) == ([KEY], [])
    assert "goes on from part 2 again, since parts of it were lost" in caplog.text


def test_export_whose_upload_was_removed_begins_again(s3: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    app, job = exporting()

    def remove() -> None:
        if 4 not in job.made:
            s3.client.abort_multipart_upload(**upload(s3))

    job.at = {4: remove}
    with caplog.at_level(logging.WARNING):
        run(app, job, 6)
    assert job.made == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert s3.read(KEY) == rows(6)
    assert "goes on from part 1 again" in caplog.text


def test_export_whose_upload_is_always_removed_asks_for_a_person(s3: S3Server) -> None:
    app, job = exporting()
    job.at = {4: lambda: s3.client.abort_multipart_upload(**upload(s3))}
    with pytest.raises(StorageError, match=r"lost parts 4 times.* Look for a lifecycle rule"):
        run(app, job, 6)


def test_what_was_put_aside_and_is_gone_is_made_again_from_the_last_part(s3: S3Server) -> None:
    app, job = exporting()

    def stop() -> None:
        raise ValueError("at 3")

    job.at = {3: stop}
    with capture(app, raise_errors=False) as jobs:
        jid = job.enqueue_sync(5)
        jobs.run_sync()
        job.at, job.made = {}, []
        s3.client.put_object(Bucket=BUCKET, Key=f"jobworker-unfinished/{jid}/rest-0", Body=b"of a late worker")
        jobs.advance_sync(hours=1)
    assert job.made == [2, 3, 4]
    assert s3.read(KEY) == rows(5)


class ForgetfulBucket(S3Bucket):
    """Completes, and does not know the upload any more when it is asked: what a second try hears from AWS."""

    def complete_upload(self, key: str, upload: str, etags: Any) -> None:
        super().complete_upload(key, upload, etags)
        raise UploadGone("NoSuchUpload")


def test_file_that_is_complete_already_is_found_and_not_written_again(s3: S3Server) -> None:
    app, job = exporting(destination=ForgetfulBucket(BUCKET))
    run(app, job, 5)
    assert job.made == [0, 1, 2, 3, 4]
    assert s3.read(KEY) == rows(5)


class NamelessBucket(ForgetfulBucket):
    """Does not give back who wrote an object, as Google's storage does not always."""

    def find(self, key: str) -> Found | None:
        found = super().find(key)
        return found and replace(found, metadata={})


def test_file_that_is_complete_is_found_by_its_size_where_nobody_knows_who_wrote_it(s3: S3Server) -> None:
    app, job = exporting(destination=NamelessBucket(BUCKET))
    run(app, job, 5)
    assert job.made == [0, 1, 2, 3, 4]
    assert s3.read(KEY) == rows(5)


class UnluckyBucket(S3Bucket):
    """Somebody else's file of the same name stands there, and the upload is gone."""

    lost = False

    def complete_upload(self, key: str, upload: str, etags: Any) -> None:
        if not UnluckyBucket.lost:
            UnluckyBucket.lost = True
            self.put(key, b"x" * sum(map(len, [rows(5)])), Metadata={"jobworker-jid": "another"})
            self.abort_upload(key, upload)
        super().complete_upload(key, upload, etags)


def test_file_of_another_job_is_not_taken_for_ones_own(s3: S3Server) -> None:
    app, job = exporting(destination=UnluckyBucket(BUCKET))
    run(app, job, 5)
    assert job.made == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert s3.read(KEY) == rows(5)


@pytest.mark.parametrize("request_", [b"<CompleteMultipartUpload", b"partNumber=2", b"?uploads"])
async def test_request_whose_answer_was_lost_is_sent_again(s3: S3Server, request_: bytes) -> None:
    app, job = exporting()
    async with CuttingProxy(s3.port) as proxy:
        proxy.lose = request_
        job.destination = S3Bucket(BUCKET, endpoint=f"http://127.0.0.1:{proxy.port}")
        with capture(app) as jobs:
            await job.enqueue(5)
            await jobs.run()
        assert proxy.lost == 1
    assert job.made == [0, 1, 2, 3, 4]
    assert s3.read(KEY) == rows(5)
    assert list(s3.objects()) == [KEY]


async def test_storage_that_is_too_busy_is_asked_again_without_a_try_of_the_job(s3: S3Server) -> None:
    app, job = exporting()
    async with BusyProxy(s3.port, refuse=2) as proxy:
        job.destination = S3Bucket(BUCKET, endpoint=f"http://127.0.0.1:{proxy.port}")
        with capture(app) as jobs:
            await job.enqueue(1)
            await jobs.run()
        assert proxy.refused == 2
        job.destination.client.close()
    assert s3.read(KEY) == rows(1)

"""What a class of exports may leave out, and what it is told when it is wrong."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

from jobworker import App, ConfigurationError, ExportingJob, S3Bucket, list_items
from jobworker.iteration.exports.buckets import S3Bucket as Bucket
from jobworker.testing import capture

BUCKET = S3Bucket("reports", endpoint="http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


class Numbers(ExportingJob):
    destination = BUCKET

    def build_enumerator(self, month: str, top: int = 3, *, cursor: int | None) -> Any:  # noqa: ARG002  # as in `row`
        return list_items(range(top), cursor)

    def row(self, item: int, month: str, top: int = 3) -> list[Any]:  # noqa: ARG002  # each item gets the job's arguments
        return [item, month]


def test_export_is_enqueued_with_what_its_row_takes() -> None:
    app = App()
    job: type[Numbers] = type("Fresh", (Numbers,), {})
    app.job(job)
    with capture(app) as jobs:
        job.enqueue_sync("2026-11", top=2)
        assert [each.args for each in jobs] == [["2026-11", 2]]
        with pytest.raises(TypeError, match="month"):
            job.enqueue_sync()  # type: ignore[call-arg]  # on purpose


def test_export_without_a_row_is_enqueued_with_what_its_walk_takes() -> None:
    app = App()

    @app.job
    class Rows(ExportingJob):
        destination = BUCKET

        def build_enumerator(self, month: str, top: int = 3, *, cursor: int | None) -> Any:
            return list_items([[month, number] for number in range(top)], cursor)

    with capture(app) as jobs:
        Rows.enqueue_sync("2026-11", top=2)
        assert [each.args for each in jobs] == [["2026-11", 2]]
        with pytest.raises(TypeError, match="month"):
            Rows.enqueue_sync()


def test_export_is_async_if_anything_of_it_is() -> None:
    class Rows(Numbers):
        async def row(self, item: int, month: str, top: int = 3) -> list[Any]:  # type: ignore[override]  # noqa: ARG002  # on purpose
            return [item]

    class Walk(Numbers):
        async def build_enumerator(self, month: str, top: int = 3, *, cursor: Any) -> Any:  # noqa: ARG002  # as above
            return []

    assert [inspect.iscoroutinefunction(each.each_iteration) for each in (Numbers, Rows, Walk)] == [False, True, True]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"destination": None}, r"Fresh: set destination = S3Bucket\(…\)"),
        ({"part_size": 1 << 20}, "part_size is 1048576; the storage takes 5 MiB or more"),
        ({"key": lambda *_: ""}, "key returned ''; an object's key is a text of 1 to 1,024 bytes"),
        ({"key": lambda *_: 7}, "key returned 7"),
    ],
)
def test_export_that_cannot_work_is_told(attributes: dict[str, Any], message: str) -> None:
    app = App()
    job: type[Numbers] = type("Fresh", (Numbers,), attributes)
    app.job(job)
    with capture(app) as jobs:
        job.enqueue_sync("2026-11")
        with pytest.raises(ConfigurationError, match=message):
            jobs.run_sync()


@pytest.mark.parametrize("life", [0, -1, 0.5, 604_801, timedelta(days=8)])
def test_link_of_no_or_too_long_a_life_is_refused(life: float | timedelta) -> None:
    with pytest.raises(ValueError, match="a signed link lives from a second to seven days"):
        BUCKET.link("x", life)


def test_link_needs_no_answer_of_the_storage() -> None:
    link = BUCKET.link("a b/ä.csv", timedelta(days=7), filename="x.csv")
    assert link.startswith("http://127.0.0.1:9/reports/a%20b/%C3%A4.csv?")
    assert "X-Amz-Expires=604800" in link


def test_bucket_of_a_machine_without_the_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("jobworker.iteration.exports.buckets.importlib.import_module", missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'jobworker\[s3\]'"):
        Bucket("other", endpoint="http://127.0.0.1:10").link("x", 60)

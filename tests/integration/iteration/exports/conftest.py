"""A bucket of a real server of the S3 API, and what exports need to find it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobworker.iteration.exports import buckets
from tests.s3_server import BUCKET, S3Server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, empty, as the environment of this test names it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.empty()
    yield s3_server
    for client in buckets._clients.values():
        client.close()
    buckets._clients.clear()


@pytest.fixture
def bucket(s3: S3Server) -> buckets.S3Bucket:
    return buckets.S3Bucket(BUCKET)

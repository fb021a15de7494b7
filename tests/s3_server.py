"""A real server of the S3 API of the tests' own, on an ephemeral port, that can be killed and started again.

It is versitygw, which `scripts/bootstrap s3` builds from its Go module. It keeps objects as files and what it knows of
them in files beside, so that its folder may lie on any file system.
"""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.redis_server import free_port
from tests.waiting import wait_until_sync

ACCESS_KEY, SECRET_KEY = "tester", "a secret of tests"
REGION = "us-east-1"
BUCKET = "reports"


class S3Server:
    """One server with the empty bucket `BUCKET`; ``address``: a cluster's host, where its pods shall use it."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.address = address
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @cached_property
    def client(self) -> Any:
        """A client of its own, whatever the environment says."""
        # Not on top: all tests import this module by their fixtures, and few need the client.
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; see above
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  # the same

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(signature_version="s3v4", retries={"total_max_attempts": 1}, connect_timeout=2),
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        objects, known = self.folder / "objects", self.folder / "known"
        for path in (objects / BUCKET, known):
            path.mkdir(parents=True, exist_ok=True)
        command = [_program(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION]
        command += ["--port", f"{self.address}:{self.port}", "--quiet", "posix", "--sidecar", str(known), str(objects)]
        with (self.folder / "s3.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until_sync(self._answers, 20, f"the S3 server on port {self.port}, log in {self.folder}")

    def kill(self) -> None:
        """End it by SIGKILL; what it stored stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def empty(self) -> None:
        """Remove all objects and uploads."""
        for key in self.objects():
            self.client.delete_object(Bucket=BUCKET, Key=key)
        for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])

    def objects(self) -> dict[str, int]:
        """Sizes of all objects by their keys."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {found["Key"]: found["Size"] for found in listed}

    def uploads(self) -> list[str]:
        """The keys of uploads in parts that are under way."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def read(self, key: str) -> bytes:
        """All bytes of an object."""
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.client.close()

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # noqa: PLC0415  # as above

        assert self.process is not None
        assert self.process.poll() is None, f"the S3 server ended: {(self.folder / 's3.log').read_text()[-2000:]}"
        try:
            self.client.head_bucket(Bucket=BUCKET)
        except BotoCoreError:
            return False
        return True


def _program() -> str:
    bootstrap = Path(__file__).parents[1] / "scripts" / "bootstrap"
    program = subprocess.run([bootstrap, "where", "s3"], capture_output=True, text=True, check=True).stdout.strip()
    if not Path(program).exists():
        message = "the S3 server is not built: run `make bootstrap`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program

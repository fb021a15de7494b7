"""An application whose export dies, or is stopped, at the storage call that its environment names.

EXPORT_KILL_AT is a number of a call in this process and "before" or "after", as in "3 after". EXPORT_STOP_AT is the
number of a part before whose upload the process stops itself, as an overloaded machine would. EXPORT_MARK is what the
rows of this process are made of, and EXPORT_GATE names a key in Redis for which row 6 waits. The row of
EXPORT_FAIL_AT raises.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import redis

from jobworker import App, ExportingJob, RawFile, S3Bucket, number_range
from jobworker.iteration.exports.job import SMALLEST_PART
from tests.s3_server import BUCKET

T = TypeVar("T")

app = App()
_traces = redis.Redis.from_url(os.environ.get("JOBWORKER_REDIS_URL", "redis://127.0.0.1:1/0"))
_KILL_AT, _, _WHEN = os.environ.get("EXPORT_KILL_AT", "0").partition(" ")


class FatalBucket(S3Bucket):
    """Counts the calls that change something or decide something."""

    calls = 0

    def put(self, key: str, data: Any, **further: Any) -> str:
        return self._between(lambda: S3Bucket.put(self, key, data, **further))

    def begin_upload(self, key: str, **further: Any) -> str:
        return self._between(lambda: S3Bucket.begin_upload(self, key, **further))

    def upload_part(self, key: str, upload: str, number: int, data: Any) -> str:
        if os.environ.get("EXPORT_STOP_AT") == str(number):
            _traces.set("test:stopped", os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGTSTP)  # quiet from here on: it shall not take the job again
        try:
            return self._between(lambda: S3Bucket.upload_part(self, key, upload, number, data))
        finally:
            _traces.incr(f"test:part:{number}{os.environ.get('EXPORT_MARK', '')}")

    def complete_upload(self, key: str, upload: str, etags: Any) -> None:
        self._between(lambda: S3Bucket.complete_upload(self, key, upload, etags))

    def delete(self, *keys: str) -> None:
        self._between(lambda: S3Bucket.delete(self, *keys))

    @classmethod
    def _between(cls, call: Callable[[], T]) -> T:
        cls.calls += 1
        if (str(cls.calls), _WHEN) == (_KILL_AT, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call()
        if (str(cls.calls), _WHEN) == (_KILL_AT, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def line(number: int, size: int) -> bytes:
    """Row ``number`` of a file, of so many bytes, not like any other."""
    text = hashlib.sha256(str(number).encode()).hexdigest().encode()
    return (b"%d," % number + text * (size // len(text) + 1))[: size - 1] + b"\n"


def checksum(rows: int, size: int) -> str:
    """Of the file that comes of it."""
    whole = hashlib.sha256()
    for number in range(rows):
        whole.update(line(number, size))
    return whole.hexdigest()


@app.job(poison_after=0, queue="exports")
class FileOfRows(ExportingJob):
    """So many rows of so many bytes, to an object of its own."""

    destination: ClassVar[S3Bucket] = FatalBucket(BUCKET)
    file = RawFile()
    part_size = SMALLEST_PART
    checkpoint_seconds = 0.5

    def key(self, name: str, rows: int, size: int) -> str:  # noqa: ARG002  # each callback gets the job's arguments
        return name

    def build_enumerator(self, name: str, rows: int, size: int, *, cursor: int | None) -> Any:  # noqa: ARG002  # as above
        return number_range(0, rows, cursor)

    def row(self, item: int, name: str, rows: int, size: int) -> bytes:  # noqa: ARG002  # as above
        gate = os.environ.get("EXPORT_GATE")
        while gate and item == 6 and not _traces.exists(gate):
            time.sleep(0.02)
        if os.environ.get("EXPORT_FAIL_AT") == str(item):
            raise ValueError(f"row {item}")
        mark = os.environ.get("EXPORT_MARK")
        return line(item, size) if not mark else mark.encode() * (size // len(mark))

    def on_complete(self) -> None:
        _traces.incr("test:complete")

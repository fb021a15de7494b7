"""Exports so many MiB in parts of 5 MiB and prints what that took of memory at most: bytes beyond a short export."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from jobworker import ExportingJob, S3Bucket
from jobworker.testing import capture
from tests.integration.iteration.exports.jobs_under_fire import FileOfRows, app
from tests.s3_server import BUCKET

_ROW = 64 << 10


def highest() -> int:
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kilobytes) << 10


def export(mebibytes: int) -> None:
    with capture(app) as jobs:
        FileOfRows.enqueue_sync("large", mebibytes * (1 << 20) // _ROW, _ROW)
        jobs.run_sync()


def main() -> None:
    """As the module says."""
    FileOfRows.destination = S3Bucket(BUCKET)
    FileOfRows.checkpoint_seconds = 3600.0
    FileOfRows.on_complete = ExportingJob.on_complete  # type: ignore[method-assign]  # there is nobody to tell
    export(1)
    Path("/proc/self/clear_refs").write_text("5")  # from here on the highest is that of what follows
    before = highest()
    export(int(sys.argv[1]))
    sys.stdout.write(str(highest() - before))


if __name__ == "__main__":
    main()

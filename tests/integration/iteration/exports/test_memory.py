"""What an export needs of memory is bounded by the size of a part, not by that of the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jobworker.iteration.exports.job import SMALLEST_PART
from tests.integration.iteration.exports import memory_of_export
from tests.s3_server import S3Server

_ROOT = Path(__file__).parents[4]


def test_file_of_many_parts_needs_the_memory_of_a_few(s3: S3Server) -> None:
    environment = {**os.environ, **s3.environment, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", memory_of_export.__name__, "100"],
        env=environment, cwd=_ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert s3.objects() == {"large": 100 << 20}
    assert int(ran.stdout) < 3 * SMALLEST_PART, f"{int(ran.stdout) >> 20} MiB"

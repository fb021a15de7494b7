"""The command behind ``make bench-iteration``: what goes where, and what stands on its last line."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.iteration.__main__ import DOCUMENT
from bench.worker.environments import ROOT
from tests.redis_server import RedisServer

COMMAND = [sys.executable, "-m", "bench.iteration", "--only", "checkpoints", "--rounds", "1", "--scale", "0.00001"]


def test_the_last_line_is_one_json_object_and_the_tables_go_to_stderr(redis_server: RedisServer) -> None:
    before = DOCUMENT.read_text()
    ran = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=True, timeout=55)
    (line,) = ran.stdout.splitlines()
    figures = json.loads(line)
    assert isinstance(figures["checkpoint_cost_ratio"], float)
    assert {figures[name] for name in ("rows_vs_plain_loop", "csv_resume_ms", "sql_resume_ms")} == {None}
    assert figures["failed_rounds"] == 0
    assert "Checkpoints of a job with iterations of 1 ms" in ran.stderr
    assert DOCUMENT.read_text() == before

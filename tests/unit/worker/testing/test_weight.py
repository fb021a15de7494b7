"""The testing kit must not slow down every test run of an application, nor tie it to one runner."""

from __future__ import annotations

import subprocess
import sys


def test_kit_imports_no_runner_and_nothing_that_only_a_worker_needs() -> None:
    script = "import sys, jobworker.testing; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "jobworker" in loaded
    assert not loaded & {"pytest", "aiohttp", "click", "rich"}

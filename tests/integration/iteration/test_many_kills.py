"""A short kill run: real workers killed at random times and instructions, effects counted in real servers.

The long one is `make kill-iterations`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(240)
def test_effects_bear_forty_kills(tmp_path: Path) -> None:
    # Repeated work of jobs without a transaction is bounded in time, and how fast time goes on a busy machine nobody
    # knows: the long run is strict about it.
    flags = ["--kills", "40", "--seed", "7", "--slack", "10", "--keep", str(tmp_path)]
    command = [sys.executable, "-m", "tests.kills", *flags]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=230)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "violations: 0" in ran.stdout


def test_kinds_that_are_not_there_are_told() -> None:
    command = [sys.executable, "-m", "tests.kills", "--only", "Nothing"]
    ran = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert ran.returncode == 2
    assert "no such kinds: Nothing; there are PlainImport" in ran.stderr

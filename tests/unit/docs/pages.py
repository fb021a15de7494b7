"""Runs the examples of a page: its blocks are files, each named in its first line, for a pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTIONS = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--strict-markers"]


def blocks(page: Path, language: str) -> list[str]:
    """What stands in the page's blocks of a language."""
    return [block for found, block in _BLOCK.findall(page.read_text()) if found == language]


def write_examples(page: Path, folder: Path) -> list[Path]:
    """The page's Python blocks as files in ``folder``, which pytest can run there."""
    settings = ["filterwarnings = error", "pythonpath = .", "asyncio_default_fixture_loop_scope = function"]
    (folder / "pytest.ini").write_text("\n".join(["[pytest]", *settings, ""]))
    written = []
    for block in blocks(page, "python"):
        path = folder / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        assert not path.exists(), f"two blocks are named {path.name}"
        path.write_text(block)
        written.append(path)
    return written


def run_pytest(folder: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    """Run it there, with the only plugin that async tests need: the examples shall not depend on ours."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    environment.pop("JOBWORKER_REDIS_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *_OPTIONS, "-p", "pytest_asyncio.plugin", *paths],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


def assert_examples_pass(files: list[Path]) -> None:
    """All tests of these files pass, as many as there are; what lies in folders below is left alone."""
    folder = files[0].parent
    names = [
        name for path in files if path.parent == folder for name in re.findall(r"def (test_\w+)", path.read_text())
    ]
    ran = run_pytest(folder, "--ignore=fails")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(names)} passed" in ran.stdout

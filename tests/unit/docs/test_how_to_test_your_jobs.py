"""Every example of the page runs: its files are written as it says, and those below ``fails`` fail as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "test-your-jobs.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The files of the page, each named in the first line of its block."""
    settings = ["filterwarnings = error", "pythonpath = .", "asyncio_default_fixture_loop_scope = function"]
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *settings, ""]))
    written = []
    for _, block in blocks("python"):
        name = block.splitlines()[0].removeprefix("# ")
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        assert not path.exists(), f"two blocks are named {name}"
        path.write_text(block)
        written.append(path)
    return written


def blocks(language: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = BLOCK.findall(PAGE.read_text())
    return [each for each in found if each[0] == language]


def run_pytest(folder: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    # Only the plugin that async tests need: the examples shall not depend on ours.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    environment.pop("JOBWORKER_REDIS_URL", None)
    options = [
        "-q",
        "-p",
        "pytest_asyncio.plugin",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--strict-markers",
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


def test_examples_of_the_page_pass(files: list[Path]) -> None:
    folder = files[0].parent
    ran = run_pytest(folder, "--ignore=fails")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names = [
        name for path in files if path.parent == folder for name in re.findall(r"def (test_\w+)", path.read_text())
    ]
    assert f"{len(names)} passed" in ran.stdout


def test_examples_of_failures_fail_with_the_words_of_the_page(files: list[Path]) -> None:
    folder = files[0].parent
    failing = [path for path in files if path.parent.name == "fails"]
    ran = run_pytest(folder, "fails")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"{len(failing)} failed" in ran.stdout
    # pytest marks the lines of a message and indents all but the first.
    said = [line.removeprefix("E").strip() for line in ran.stdout.splitlines()]
    shown = [line.strip() for _, block in blocks("text") for line in block.splitlines()]
    assert len(shown) > 3
    for line in shown:
        assert any(each.startswith(line) for each in said), f"{line!r} is not in:\n{ran.stdout}"

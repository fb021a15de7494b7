"""Every example of the page runs: its files are written as it says, and those below ``fails`` fail as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.docs.pages import HOW_TO, assert_examples_pass, blocks, run_pytest, write_examples

PAGE = HOW_TO / "test-your-jobs.md"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The files of the page."""
    return write_examples(PAGE, tmp_path)


def test_examples_of_the_page_pass(files: list[Path]) -> None:
    assert_examples_pass(files)


def test_examples_of_failures_fail_with_the_words_of_the_page(files: list[Path]) -> None:
    folder = files[0].parent
    failing = [path for path in files if path.parent.name == "fails"]
    ran = run_pytest(folder, "fails")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"{len(failing)} failed" in ran.stdout
    # pytest marks the lines of a message and indents all but the first.
    said = [line.removeprefix("E").strip() for line in ran.stdout.splitlines()]
    shown = [line.strip() for block in blocks(PAGE, "text") for line in block.splitlines()]
    assert len(shown) > 3
    for line in shown:
        assert any(each.startswith(line) for each in said), f"{line!r} is not in:\n{ran.stdout}"

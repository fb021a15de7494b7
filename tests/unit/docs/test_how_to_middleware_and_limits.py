"""The Python examples of the page about middleware and time limits pass."""

from __future__ import annotations

from pathlib import Path

from tests.unit.docs.pages import HOW_TO, assert_examples_pass, write_examples


def test_examples_of_the_page_pass(tmp_path: Path) -> None:
    assert_examples_pass(write_examples(HOW_TO / "middleware-and-limits.md", tmp_path))

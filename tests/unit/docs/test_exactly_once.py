"""The examples of the page about effects that are there exactly once pass."""

from __future__ import annotations

from pathlib import Path

from tests.unit.docs.pages import HOW_TO, assert_examples_pass, write_examples


def test_examples_of_the_page_pass(tmp_path: Path) -> None:
    assert_examples_pass(write_examples(HOW_TO / "exactly-once.md", tmp_path))

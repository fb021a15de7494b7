"""The long files of the bench: every row is where its cursor says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.iteration.programs.walks import enumerator, plain
from bench.iteration.sources import FIRST, Sources, cursor_at

ROWS = 100_003  # so that a last lot is not full


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    sources = Sources(ROWS, tmp_path_factory.mktemp("sources"))
    return {"csv": str(sources.csv()), "json": str(sources.json()), "sql": f"sqlite:///{sources.sqlite()}"}


def number(item: Any) -> int:
    return int(item.id if hasattr(item, "id") else item["id"])


@pytest.mark.parametrize("kind", ["csv", "json", "sql"])
@pytest.mark.parametrize("row", [1, 99_999, ROWS - 1])
def test_a_walk_goes_on_at_any_row(places: dict[str, str], kind: str, row: int) -> None:
    item, cursor = next(iter(enumerator(kind, places[kind], cursor_at(kind, row))))
    assert number(item) == FIRST + row
    assert cursor == cursor_at(kind, row + 1)


@pytest.mark.parametrize("kind", ["csv", "json", "sql"])
def test_job_and_loop_see_the_same_rows(places: dict[str, str], kind: str) -> None:
    walked = [number(item) for item, _ in enumerator(kind, places[kind], cursor_at(kind, ROWS - 50))]
    with plain(kind, places[kind]) as source:
        assert walked == [number(item) for item in source][-50:]
    assert len(walked) == 50


def test_a_file_is_made_once(tmp_path: Path) -> None:
    made = Sources(10, tmp_path).csv()
    made.write_bytes(b"kept")
    assert Sources(10, tmp_path).csv().read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [made]

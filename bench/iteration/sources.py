"""Long files and tables, made once and kept in the machine's temporary folder. Each row is row number and two values.

All rows are of one width, so that the place of any row is known without reading those in front of it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST = 10_000_000
"""The id of row 0: eight digits, as all of the next ninety million."""

_HEADER = b"id,name,cents\n"
_LOT = 100_000
_LAYOUT = 1  # counted up when the rows change, so that no older file is taken for one of these


@dataclass(frozen=True, slots=True)
class Sources:
    """``rows`` rows in each of a file of CSV, one of JSON lines and one of SQLite."""

    rows: int
    folder: Path = Path(tempfile.gettempdir()) / "jobworker-bench-iteration"

    def csv(self) -> Path:
        """The file of CSV."""
        return self._made(f"{self.rows}.csv", self._write_csv)

    def json(self) -> Path:
        """The file of JSON lines."""
        return self._made(f"{self.rows}.jsonl", self._write_json)

    def sqlite(self) -> Path:
        """The file of SQLite, with one table."""
        return self._made(f"{self.rows}.sqlite", self._write_table)

    def _made(self, name: str, write: Callable[[Path], None]) -> Path:
        path = self.folder / f"layout-{_LAYOUT}-{name}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder) as unfinished:
                write(Path(unfinished) / name)
                (Path(unfinished) / name).rename(path)
        return path

    def _write_csv(self, path: Path) -> None:
        self._write_lines(path, _HEADER, csv_line)

    def _write_json(self, path: Path) -> None:
        self._write_lines(path, b"", json_line)

    def _write_lines(self, path: Path, header: bytes, line: Callable[[int], bytes]) -> None:
        with path.open("wb") as file:
            file.write(header)
            for begin in range(0, self.rows, _LOT):
                file.write(b"".join(map(line, range(begin, min(begin + _LOT, self.rows)))))

    def _write_table(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE bench_rows (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, cents INTEGER NOT NULL)"
            )
            database.execute(
                "INSERT INTO bench_rows "
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
                "SELECT ? + i, 'user', 1000 + i % 9000 FROM n",
                (self.rows, FIRST),
            )
            database.commit()


def csv_line(row: int) -> bytes:
    """The line of a row, counted from 0."""
    return b"%d,user,%d\n" % (FIRST + row, 1000 + row % 9000)


def json_line(row: int) -> bytes:
    """The same as JSON."""
    return b'{"id":%d,"name":"user","cents":%d}\n' % (FIRST + row, 1000 + row % 9000)


def cursor_at(kind: str, row: int) -> Any:
    """From where a walk goes on that has done so many rows."""
    match kind:
        case "csv":
            return [row, len(_HEADER) + row * len(csv_line(0))]
        case "json":
            return [row, row * len(json_line(0))]
        case "sql":
            return {"key": ["id"], "after": [FIRST + row - 1]}
        case _:
            return row

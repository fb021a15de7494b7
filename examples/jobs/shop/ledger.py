"""A large export and a large import over the same rows: the shop's ledger, written to object storage and read again.

A row depends on its number alone, so that anybody can tell what the file has to be. Both jobs take their rows in
batches, at a rate, so that a rollout meets them in the middle. The bucket is that of SHOP_BUCKET; where it is and who
may write to it stands in the environment that all tools of AWS read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from jobworker import (
    CsvFile,
    ExportingJob,
    IteratingJob,
    S3Bucket,
    context,
    csv_rows,
    in_batches,
    list_items,
    throttled,
    unchanged,
)
from shop import effects
from shop.application import VERSION, app
from shop.cities import shares

BUCKET = S3Bucket(os.environ.get("SHOP_BUCKET", "reports"))
COLUMNS = ("row", "account", "text")
ROW_BYTES = 200
BATCH = 100
"""Rows of an item."""

Row = Mapping[str, str]


def line(number: int) -> bytes:
    """A row as the file has it, `ROW_BYTES` long."""
    account = hashlib.sha256(str(number).encode()).hexdigest()
    front = f"{number},{account},".encode()
    return front.ljust(ROW_BYTES - 1, b".") + b"\n"


def checksum(rows: int) -> str:
    """SHA-256 of the whole file."""
    whole = hashlib.sha256(CsvFile(header=COLUMNS, line_end="\n").head())
    for number in range(1, rows + 1):
        whole.update(line(number))
    return whole.hexdigest()


@app.job(queue="exports")
class ExportLedger(ExportingJob):
    """Writes ``rows`` rows to the object ``key``, ``per_second`` of them a second."""

    destination = BUCKET
    file = CsvFile(header=COLUMNS, line_end="\n")

    def key(self, key: str, rows: int, per_second: float) -> str:
        """What the job is told."""
        del rows, per_second
        return key

    def build_enumerator(self, key: str, rows: int, per_second: float, *, cursor: int | None) -> throttled:
        """First and last numbers of batches."""
        del key
        batches = shares(rows, -(-rows // BATCH))
        return throttled(list_items(batches, cursor), per_second=per_second / BATCH)

    def row(self, batch: tuple[int, int], key: str, rows: int, per_second: float) -> bytes:
        """The lines of a batch."""
        del key, rows, per_second
        first, last = batch
        return b"".join(map(line, range(first, last + 1)))

    def on_complete(self) -> None:
        """Tell where it is."""
        if self.is_stored:
            context().logger.info("ledger is written", extra={"key": self.stored_key, "version": VERSION})


@app.job(queue="imports")
class ImportLedger(IteratingJob):
    """Reads the object ``key`` and counts how often each row was handled, ``per_second`` rows a second."""

    checkpoint_seconds = 2.0

    def build_enumerator(self, key: str, per_second: float, *, cursor: Any) -> throttled:
        """Batches of its rows."""
        rows = unchanged(BUCKET, key, csv_rows, cursor)
        return throttled(in_batches(rows, BATCH), per_second=per_second / BATCH)

    def each_iteration(self, batch: list[Row], key: str, per_second: float) -> None:
        """Count all rows of a batch in one command, each up to three: two bits a row."""
        del per_second
        counters = effects.redis().bitfield(effects.ledger_key(key), default_overflow="SAT")
        for row in batch:
            if row != _expected(int(row["row"])):
                self.progress.error(f"row {row['row']} is not what was written")
            counters.incrby("u2", f"#{row['row']}", 1)
        counters.execute()


def times_handled(key: str, rows: int) -> dict[int, int]:
    """How many rows were handled so often: by 0, 1, 2, and 3 or more times."""
    raw: bytes = effects.redis().get(effects.ledger_key(key)) or b""  # type: ignore[assignment]  # of a plain client
    found = dict.fromkeys(range(4), 0)
    for number in range(1, rows + 1):
        place, shift = number // 4, 6 - 2 * (number % 4)
        found[raw[place] >> shift & 3 if place < len(raw) else 0] += 1
    return found


def _expected(number: int) -> Row:
    return dict(zip(COLUMNS, line(number).decode().rstrip("\n").split(","), strict=True))

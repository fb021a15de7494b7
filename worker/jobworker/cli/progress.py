"""Shows the progress of an iterating job."""

from __future__ import annotations

import time

import orjson
from rich.console import Console
from rich.table import Table

from jobworker.client.connection import connect
from jobworker.protocol.keys import Keys
from jobworker.protocol.reading import JobProgress, job_progress

_SHOWN = 50  # rows with errors in the table; --json has all


async def read(redis_url: str, key_prefix: str, jid: str) -> JobProgress | None:
    """The progress as Redis has it; None if there is none."""
    async with connect(redis_url) as redis:
        return await job_progress(redis, Keys(key_prefix), jid)


def as_json(jid: str, progress: JobProgress) -> str:
    """For machines: everything, rows as strings since JSON's keys are."""
    return orjson.dumps(
        {
            "jid": jid,
            "processed": progress.processed,
            "failed": progress.failed,
            "total": progress.total,
            "updated_at": progress.updated_at,
            "errors": {str(row): messages for row, messages in progress.errors.items()},
        },
        option=orjson.OPT_INDENT_2,
    ).decode()


def show(jid: str, progress: JobProgress) -> None:
    """For people: a line, and a table of the rows with errors."""
    console = Console(soft_wrap=True)
    total = "" if progress.total is None else f" of {progress.total}"
    share = f" ({progress.processed / progress.total:.0%})" if progress.total else ""
    age = "" if progress.updated_at is None else f", {max(0, round(time.time() - progress.updated_at))} s ago"
    console.print(f"{jid}: {progress.processed}{total} rows{share}, {progress.failed} with errors{age}", markup=False)
    if not progress.errors:
        return
    table = Table("Row", "Errors")
    for row, messages in list(progress.errors.items())[:_SHOWN]:
        table.add_row(str(row), "\n".join(messages))
    console.print(table)
    if progress.failed > len(progress.errors):
        console.print(
            f"{progress.failed - len(progress.errors)} further rows have errors that are counted and not kept",
            markup=False,
        )
    if len(progress.errors) > _SHOWN:
        console.print(f"… and {len(progress.errors) - _SHOWN} more rows; --json has all", markup=False)

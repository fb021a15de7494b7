"""Jobs as tables and as JSON, wherever they lie."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from rich.table import Table
from rich.text import Text

from jobworker.cli.screen import TOO_DEEP, ago, arguments, cut, job_name, table, text
from jobworker.protocol.control import Parked
from jobworker.protocol.inspection import RunningJob
from jobworker.protocol.job_sets import Found, JobSet, SetEntry
from jobworker.protocol.locating import Queued
from jobworker.protocol.payload import Payload, seconds_of

_BYTES = 1_000  # shown of what is no job
_BACKTRACE_BYTES = 1_000_000
_WHEN = {JobSet.SCHEDULED: "due", JobSet.RETRY: "next try", JobSet.DEAD: "died"}


def described_job(found: Found) -> dict[str, Any]:
    """For machines: times in epoch seconds, whichever way the payload writes them; null for what it does not say."""
    job = found.job
    extra = job.extra if job is not None else {}
    return {
        "id": found.id,
        "class": job and job.job_class,
        "args": _arguments(job),
        "queue": job and job.queue,
        "created_at": seconds_of(extra.get("created_at")),
        "enqueued_at": seconds_of(extra.get("enqueued_at")),
        "retry_count": job and job.retry_count,
        "failed_at": seconds_of(extra.get("failed_at")),
        "retried_at": seconds_of(extra.get("retried_at")),
        "error_class": _written(job, "error_class") or None,
        "error_message": _written(job, "error_message") or None,
        "problem": found.problem or (None if job is None or _arguments(job) is not None else TOO_DEEP),
    }


def described_entry(entry: SetEntry) -> dict[str, Any]:
    """For machines: the job, the set that it lies in, and its time there."""
    return {**described_job(entry.found), "set": entry.job_set.value, "at": entry.score}


def described_running(job: RunningJob) -> dict[str, Any]:
    """For machines: the job, who runs it and since when."""
    return {
        **described_job(job.found), "set": "running", "queue": job.queue, "worker": job.worker, "at": job.taken_at,
    }  # fmt: skip


def described_parked(job: Parked) -> dict[str, Any]:
    """For machines: the job, and since when it rests."""
    return {**described_job(Found.read(job.payload)), "set": "paused", "queue": job.queue, "at": job.parked_at}


def described_queued(job: Queued) -> dict[str, Any]:
    """For machines: the job, its queue and its place in it, 1 for the next one; and since when it waits."""
    return {
        **described_job(job.found), "set": "queued", "queue": job.queue, "place": job.place,
        "at": enqueued_at(job.found),
    }  # fmt: skip


def enqueued_at(found: Found) -> float | None:
    """Since when a job waits in its queue; None where it does not say."""
    return None if found.job is None else found.job.enqueued_at


def entries_table(job_set: JobSet, entries: Sequence[SetEntry]) -> Table:
    """A row for each entry."""
    failed = job_set is not JobSet.SCHEDULED
    rows = table("id", _WHEN[job_set], "queue", "class", "arguments", *(("tries", "error") if failed else ()))
    for entry in entries:
        job = entry.found.job
        row = [
            text(entry.found.id), text(ago(entry.score)), text(job.queue if job else "-"),
            job_name(entry.found), arguments(entry.found),
        ]  # fmt: skip
        rows.add_row(*row, *((text(tries(job)), text(cut(error(job)))) if failed else ()))
    return rows


def running_table(jobs: Sequence[RunningJob]) -> Table:
    """A row for each job that runs."""
    rows = table("id", "started", "queue", "class", "arguments", "worker")
    for job in jobs:
        rows.add_row(
            text(job.found.id), text(ago(job.taken_at)), text(job.queue),
            job_name(job.found), arguments(job.found), text(job.worker),
        )  # fmt: skip
    return rows


def parked_table(jobs: Sequence[Parked]) -> Table:
    """A row for each job that rests."""
    rows = table("id", "paused", "queue", "class", "arguments")
    for job in jobs:
        found = Found.read(job.payload)
        rows.add_row(
            text(found.id), text(ago(job.parked_at)), text(job.queue), job_name(found), arguments(found)
        )  # fmt: skip
    return rows


def queued_table(jobs: Sequence[Found]) -> Table:
    """A row for each job that waits in a queue."""
    rows = table("id", "enqueued", "class", "arguments")
    for found in jobs:
        rows.add_row(text(found.id), text(ago(enqueued_at(found))), job_name(found), arguments(found))
    return rows


def details(found: Found, place: str, moment: float | None) -> Table:
    """All that is known of one job, nothing of it cut."""
    rows = Table.grid(padding=(0, 2, 0, 0))

    def add(name: str, value: object) -> None:
        rows.add_row(text(name, "bold"), value if isinstance(value, Text) else text(value, whole=True))

    add("id", found.id)
    add("is", place if moment is None else f"{place}, {ago(moment)}")
    job = found.job
    if job is None:
        add("problem", found.problem)
        add("bytes", ascii(found.raw[:_BYTES])[2:-1])
        return rows
    add("class", job.job_class)
    add("queue", job.queue)
    add("arguments", arguments(found, whole=True))
    add("retry", job.retry)
    for name, value in job.extra.items():
        if name == "error_backtrace" and (lines := backtrace(found)) is not None:
            add(name, Text("\n").join(text(line, whole=True) for line in lines))
            continue
        time_of = seconds_of(value) if name.endswith("_at") else None
        add(name, _shown(value) if time_of is None else ago(time_of))
    return rows


def backtrace(found: Found) -> list[str] | None:
    """The lines that the payload keeps of its last error, packed as Sidekiq does; None without any."""
    packed = _written(found.job, "error_backtrace")
    try:
        # Bounded: a small payload of a stranger could unpack to gigabytes.
        lines = orjson.loads(zlib.decompressobj().decompress(base64.b64decode(packed), _BACKTRACE_BYTES))
    except (ValueError, zlib.error):
        return None
    return [str(line) for line in lines] if isinstance(lines, list) else None


def _arguments(job: Payload | None) -> list[Any] | None:
    """Its arguments; None where they are nested too deep to be written as JSON again."""
    if job is None:
        return None
    try:
        orjson.dumps(job.args)
    except orjson.JSONEncodeError:
        return None
    return list(job.args)


def _shown(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return TOO_DEEP


def tries(job: Payload | None) -> str:
    """How often it was tried."""
    if job is None or job.retry_count is None:
        return "-"
    return str(job.retry_count + 1)


def error(job: Payload | None) -> str:
    """Its last error in a line."""
    kind, message = _written(job, "error_class"), _written(job, "error_message")
    first = message.strip().partition("\n")[0]
    return f"{kind}: {first}" if kind and first else kind or first


def _written(job: Payload | None, name: str) -> str:
    value = job.extra.get(name) if job is not None else None
    return value if isinstance(value, str) else ""

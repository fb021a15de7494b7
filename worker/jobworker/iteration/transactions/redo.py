"""What a commit notes of the job's progress for the case that the worker dies before it tells Redis.

A later run writes it to Redis before it begins, so that rows with errors and ids that are done are never lost.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import orjson

from jobworker.protocol.records import DoneIds, Progress


def redo_of(progress: Progress) -> str:
    """As text."""
    return orjson.dumps(asdict(progress), default=_as_text).decode()


def progress_of(redo: str) -> Progress:
    """What was noted."""
    read: dict[str, Any] = orjson.loads(redo)
    return Progress(
        processed=read["processed"],
        failed=read["failed"],
        total=read["total"],
        errors=tuple((row, tuple(messages)) for row, messages in read["errors"]),
        failed_rows=_chunks(read["failed_rows"]),
        done=tuple(DoneIds(each["kind"], _chunks(each["numbers"]), tuple(each["texts"])) for each in read["done"]),
        rate=read["rate"],
    )


def _chunks(read: list[list[Any]]) -> tuple[tuple[int, bytes], ...]:
    return tuple((number, base64.b64decode(bits)) for number, bits in read)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError

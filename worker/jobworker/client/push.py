"""What a push consists of, before any network: payloads checked, stamped and cut into chunks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from jobworker.jobs import arguments
from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload

CHUNK = 1_000  # payloads in one script call: Redis serves others in between

T = TypeVar("T")


def build(
    job_class: str,
    args: Sequence[Any],
    *,
    queue: str,
    retry: bool | int,
    now: float,
    signature: inspect.Signature | None = None,
) -> Payload:
    """A new payload with checked arguments.

    Raises:
        ArgumentsNotJSON: an argument cannot travel as JSON; the message names it.
    """
    arguments.check(job_class, args, signature)
    return payloads.new(job_class, args, queue=queue, now=now, retry=retry)


def enqueued(payload: Payload, now: float) -> bytes:
    """Its bytes as they go onto the queue at ``now`` (epoch seconds)."""
    return payload.with_fields(enqueued_at=now).to_json()


def due(now: float, when: datetime | timedelta | float) -> float:
    """Epoch seconds of ``when``: a time with its zone, or so long from now (seconds or timedelta).

    Raises:
        ValueError: a datetime without a zone, whose meaning would depend on the machine.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"{when} has no time zone; pass datetime.now(UTC) + … or a time with tzinfo")
        return when.timestamp()
    return now + (when.total_seconds() if isinstance(when, timedelta) else when)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """``items`` in lists of at most `CHUNK`."""
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk

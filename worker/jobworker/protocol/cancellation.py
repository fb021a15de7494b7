"""Ends tasks that talk to Redis, for worker and operator alike.

One cancellation is not enough: redis-py 8.1 turns one that arrives while it reads an answer into a ConnectionError,
which a loop that waits outages out survives. It belongs to how Redis is talked to, so it lives beside the protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)

_CANCELLATIONS, _SECONDS = 20, 0.1


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended; what still runs after two seconds is logged and left."""
    pending = set(tasks)
    for _ in range(_CANCELLATIONS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_SECONDS)
    if pending:
        names = ", ".join(sorted(task.get_name() for task in pending))
        log.error("did not end when they were cancelled, and are left: %s; please report this", names)

"""A checkpoint as it travels: the keys that it writes and its arguments, see `lua/checkpoint.lua`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from jobworker.protocol.keys import Keys
from jobworker.protocol.number_sets import Chunks
from jobworker.protocol.records import Checkpoint, DoneIds


def checkpoint_keys(keys: Keys, jid: str, state: Checkpoint) -> list[str]:
    """The keys of the job that it writes."""
    names = [keys.iteration(jid), keys.progress(jid), keys.errors(jid), keys.failed_rows(jid)]
    if state.progress is not None:
        names += done_keys(keys, jid, state.progress.done)
    return names


def checkpoint_args(state: Checkpoint) -> list[Any]:
    """Its arguments from the cursor on."""
    args: list[Any] = [state.cursor, state.executions, state.run_seconds, state.tries, round(state.age_seconds * 1000)]
    progress = state.progress
    if progress is None:
        return [*args, 0]
    fields: list[Any] = ["processed", progress.processed, "failed", progress.failed]
    if progress.total is not None:
        fields += ["total", progress.total]
    if progress.rate is not None:
        fields += ["rate", round(progress.rate, 6)]
    args += [len(fields) // 2, *fields, *_chunks(progress.failed_rows), len(progress.errors)]
    for row, messages in progress.errors:
        args += [row, orjson.dumps(messages)]
    return args + done_args(progress.done)


def done_keys(keys: Keys, jid: str, done: Iterable[DoneIds]) -> list[str]:
    """The sets of done ids, two for each kind."""
    return [name for each in done for name in keys.done(jid, each.kind)]


def done_args(done: Iterable[DoneIds]) -> list[Any]:
    """Done ids as `lua/_done.lua` has them."""
    args: list[Any] = []
    for each in done:
        args += [each.kind, *_chunks(each.numbers), len(each.texts), *each.texts]
    return args


def _chunks(chunks: Chunks) -> list[Any]:
    return [len(chunks), *(part for chunk in chunks for part in chunk)]

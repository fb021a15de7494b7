"""A cursor as the bytes that are written, and back.

What comes back in the next run must be what `build_enumerator` gave: an id that became text on its way, or a number
that became nothing, would begin the walk anew or skip what was not done.
"""

from __future__ import annotations

from typing import Any

import orjson

from jobworker.errors import ConfigurationError

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def written_cursor(job: str, cursor: Any) -> bytes:
    """The bytes of a cursor: None, a string, a number, true or false, or lists, tuples and objects of these.

    Raises:
        ConfigurationError: the next run would not get the same back; the message says what to yield instead.
    """
    try:
        raw = orjson.dumps(cursor, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(
            f"{job}: the cursor {cursor!r:.80} cannot be written as JSON ({error}); {_instead(cursor)}"
        ) from error
    if type(cursor) is not int and not _same(cursor, orjson.loads(raw)):
        raise ConfigurationError(
            f"{job}: the cursor {cursor!r:.80} would come back as {raw[:80].decode()}; {_instead(cursor)}"
        )
    return raw


def read_cursor(raw: bytes | None) -> Any:
    """The cursor of the last run; None in the first one."""
    return None if raw is None else orjson.loads(raw)


def _instead(cursor: Any) -> str:
    parts = cursor if isinstance(cursor, tuple | list) else [cursor]
    if any(isinstance(part, bytes | bytearray | memoryview) for part in parts):
        return "of bytes, let build_enumerator yield raw.hex() and begin from bytes.fromhex(cursor)"
    return (
        "let build_enumerator yield cursors of strings, numbers, lists and objects, such as str(id) or time.isoformat()"
    )


def _same(cursor: Any, read: Any) -> bool:
    if isinstance(cursor, list | tuple):
        return isinstance(read, list) and len(cursor) == len(read) and all(map(_same, cursor, read))
    if isinstance(cursor, dict):
        return (
            isinstance(read, dict)
            and cursor.keys() == read.keys()
            and all(_same(value, read[key]) for key, value in cursor.items())
        )
    return bool(cursor == read)

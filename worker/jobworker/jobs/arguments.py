"""Writes arguments as JSON, if they survive the way through it unchanged, and else names the one that does not.

Stricter than the encoder on purpose: a tuple would come back as a list, NaN as null, a UUID as a string. The common
case is decided by a few looks at types in C; only what fails there is searched for the place and the words.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import math
import pathlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from types import NoneType
from typing import Any

import orjson

from jobworker.errors import ArgumentsNotJSON

_SCALARS = frozenset({str, int, bool, NoneType})  # orjson itself refuses an integer or a string that JSON cannot carry
_NAMES = frozenset({str})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what JSON readers in other languages and orjson can carry
_DEEPEST = 200  # levels; orjson's own bound is 255
_SHOWN = 40  # characters of a path or a key
_ANYTHING = "an id, a string, a number, a list or an object with string keys"

# The first kind that fits tells what to pass instead.
_INSTEAD: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (enum.Enum, "value.value"),
    (str, "str(value)"),
    (int, "int(value)"),
    (float, "float(value)"),
    ((dt.datetime, dt.date, dt.time), "value.isoformat(), and read it with fromisoformat()"),
    (dt.timedelta, "value.total_seconds()"),
    ((decimal.Decimal, uuid.UUID, pathlib.PurePath), "str(value)"),
    ((bytes, bytearray, memoryview), "base64.b64encode(value).decode(), or better the place where it is stored"),
    ((tuple, set, frozenset, range), "list(value)"),
    (Mapping, "dict(value)"),
)


def encode(job_class: str, args: Sequence[Any], signature: inspect.Signature | None = None) -> bytes:
    """The arguments as a JSON array; ``signature`` gives their names for a message.

    Raises:
        ArgumentsNotJSON: JSON would change one or cannot carry it. The message names the argument, the place inside
            it, the type found there and what to pass instead.
    """
    if type(args) is not list and type(args) is not tuple:
        args = listed(job_class, args)
    if _SCALARS.issuperset(map(type, args)) or all(map(_travels, args, repeat(0))):
        try:
            return orjson.dumps(args)
        except orjson.JSONEncodeError as error:
            check(job_class, args, signature)
            raise ArgumentsNotJSON(f"{job_class}: the arguments cannot be written as JSON ({error})") from error
    check(job_class, args, signature)
    raise ArgumentsNotJSON(f"{job_class}: the arguments cannot be written as JSON; pass {_ANYTHING}")


def check(job_class: str, args: Sequence[Any], signature: inspect.Signature | None = None) -> None:
    """Refuse arguments that JSON would change or cannot carry.

    Raises:
        ArgumentsNotJSON: as `encode`.
    """
    for place, value in enumerate(args):
        fault = _fault(value, "", 0)
        if fault:
            raise ArgumentsNotJSON(f"{job_class}: argument {_name(place, signature)}{fault}")


def listed(job_class: str, args: Any) -> list[Any]:
    """The arguments as a list of their own.

    Raises:
        ArgumentsNotJSON: they are no series of values, but a string or an object.
    """
    if isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable):
        raise ArgumentsNotJSON(
            f"{job_class}: the arguments are a {_type_name(type(args))}; pass a list of them in the order of the job's "
            "parameters, for example [7]"
        )
    return list(args)


def _travels(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth >= _DEEPEST:
        return False
    if kind is dict:
        return _NAMES.issuperset(map(type, value)) and all(map(_travels, value.values(), repeat(depth + 1)))
    if kind is list:
        return _SCALARS.issuperset(map(type, value)) or all(map(_travels, value, repeat(depth + 1)))
    return False


def _fault(value: Any, path: str, depth: int) -> str | None:
    """What is wrong with a value, in words that follow the argument's name; None if nothing is."""
    if depth > _DEEPEST:
        return f"{path[:_SHOWN]}… is nested deeper than {_DEEPEST} levels; pass an id of it"
    kind = type(value)
    if kind is list:
        return _first(_fault(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
    if kind is dict:
        strange = next((key for key in value if type(key) is not str or not _is_unicode(key)), None)
        if strange is not None:
            return f"{path} has the key {repr(strange)[:_SHOWN]}, which is no string; pass str(key)"
        return _first(_fault(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items())
    fault = _scalar_fault(value)
    return fault and f"{path} is {fault}"


def _scalar_fault(value: Any) -> str | None:
    kind = type(value)
    if kind is int and not _INT_MIN <= value <= _INT_MAX:
        return "an integer of more than 64 bits, which other readers of JSON cannot carry; pass str(value)"
    if kind is float and not math.isfinite(value):
        return f"{value}, which JSON does not have; pass None or a string"
    if kind is str and not _is_unicode(value):
        return "a string with half a surrogate pair, which is no Unicode; pass value.encode(errors='replace').decode()"
    if kind in _SCALARS or kind is float:
        return None
    return f"a {_type_name(kind)}; pass {_instead(value)}"


def _instead(value: Any) -> str:
    for kinds, words in _INSTEAD:
        if isinstance(value, kinds):
            return words
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "dataclasses.asdict(value), or the id of what it describes"
    if callable(getattr(value, "model_dump", None)):
        return "value.model_dump(mode='json'), or the id of what it describes"
    for name in ("pk", "id"):
        if type(getattr(value, name, None)) in {int, str}:
            return f"value.{name}, and load it in the job: it may have changed by then"
    if callable(getattr(value, "item", None)) and hasattr(value, "dtype"):
        return "value.item() or value.tolist()"
    return _ANYTHING


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


def _first(faults: Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault is not None), None)


def _name(place: int, signature: inspect.Signature | None) -> str:
    if signature is not None:
        names = list(signature.parameters.values())
        if place < len(names) and names[place].kind is not inspect.Parameter.VAR_POSITIONAL:
            return names[place].name
    return f"number {place + 1}"

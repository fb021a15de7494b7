"""Checks that arguments survive the way through JSON unchanged, and names the one that does not.

Stricter than the encoder on purpose: a tuple would come back as a list, NaN as null, a UUID as a string.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from jobworker.errors import ArgumentsNotJSON

_SCALARS = frozenset({str, bool, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what JSON readers in other languages and orjson can carry
_DEEPEST = 200  # levels; orjson's own bound is 255


def check(job_class: str, args: Sequence[Any], signature: inspect.Signature | None = None) -> None:
    """Refuse arguments that JSON would change or cannot carry.

    Raises:
        ArgumentsNotJSON: the message names the argument, the place inside it and the type found there.
    """
    for place, value in enumerate(args):
        if type(value) in _SCALARS:
            continue
        fault = _fault(value, "", 0)
        if fault:
            raise ArgumentsNotJSON(
                f"{job_class}: argument {_name(place, signature)}{fault}; "
                "pass an id, a string, a number, a list or an object with string keys"
            )


def _fault(value: Any, path: str, depth: int) -> str | None:  # noqa: PLR0911  # one answer for each type of JSON
    if depth > _DEEPEST:
        return f"{path[:40]}… is nested deeper than {_DEEPEST} levels"
    kind = type(value)
    if kind in _SCALARS:
        return None
    if kind is int:
        return None if _INT_MIN <= value <= _INT_MAX else f"{path} is an integer of more than 64 bits"
    if kind is float:
        return None if math.isfinite(value) else f"{path} is {value}, which JSON does not have"
    if kind is list:
        return _first(_fault(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
    if kind is dict:
        strange = next((key for key in value if type(key) is not str), None)
        if strange is not None:
            return f"{path} has the key {strange!r}, which is no string"
        return _first(_fault(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items())
    return f"{path} is a {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


def _first(faults: Any) -> str | None:
    return next((fault for fault in faults if fault is not None), None)


def _name(place: int, signature: inspect.Signature | None) -> str:
    if signature is not None:
        names = list(signature.parameters.values())
        if place < len(names) and names[place].kind is not inspect.Parameter.VAR_POSITIONAL:
            return names[place].name
    return f"number {place + 1}"

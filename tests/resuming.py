"""The property that all enumerators share: interrupted at any place, they go on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson


def resumed_everywhere(make: Callable[[Any], Iterable[tuple[Any, Any]]]) -> list[Any]:
    """The items of ``make(cursor)``, after all resumed walks were found equal to the undisturbed one."""
    undisturbed = list(make(None))
    for done in range(len(undisturbed) + 1):
        rest = list(make(travelled(undisturbed[done - 1][1]) if done else None))
        assert rest == undisturbed[done:], f"resumed after {done} of {len(undisturbed)} items"
    return [item for item, _ in undisturbed]


async def resumed_everywhere_async(make: Callable[[Any], Any]) -> list[Any]:
    """The same for async ones."""
    undisturbed = [pair async for pair in make(None)]
    for done in range(len(undisturbed) + 1):
        rest = [pair async for pair in make(travelled(undisturbed[done - 1][1]) if done else None)]
        assert rest == undisturbed[done:], f"resumed after {done} of {len(undisturbed)} items"
    return [item for item, _ in undisturbed]


def travelled(cursor: Any) -> Any:
    """As it comes back from Redis."""
    return orjson.loads(orjson.dumps(cursor))

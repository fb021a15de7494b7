"""What is asked of Redis from outside as steps: lists of commands for one crossing each.

So clients of asyncio and of plain code share what is decided between two crossings.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Command = tuple[Any, ...]
Steps = Generator[Sequence[Command], Sequence[Any], T]
"""Yields the commands of one crossing, is sent their answers, returns a result."""

"""Kills or stops this process at the n-th instruction of what the promise hangs on: the run of a job and its store.

An instruction is one of Python's byte code. Only code that is named here counts, so a number drawn at random falls
where it matters, also between an effect and its cursor, or between a commit and the word of it to Redis.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_WATCHED = (
    "/jobworker/iteration/",
    "/jobworker/runtime/keeper.py",
    "/tests/kills/jobs.py",
    "/sqlalchemy/engine/default.py",
)


def set_tripwire(instruction: int, number: signal.Signals) -> None:
    """Send ``number`` to this process before that instruction, counted over all its threads."""
    left = instruction

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        del frame
        if event == "opcode":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)
        return local

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        del event
        if left <= 0 or not any(part in frame.f_code.co_filename for part in _WATCHED):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return local

    threading.settrace(trace)
    sys.settrace(trace)

"""Children of a command line program that end with it, whatever ends it: also SIGKILL, which it cannot pass on."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ends_with_this_process() -> Callable[[], None] | None:
    """For ``preexec_fn`` of a child that is started by the main thread: it gets SIGTERM when this process is gone.

    None where the system knows no such signal (it is Linux's own).
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # RACE the parent died before it was set
            os._exit(1)

    return set_signal

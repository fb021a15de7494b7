"""Gives memory back that starting took and running does not need.

Imports leave a third of the process behind as free blocks of the C library, which keeps them; and the collector walks
all modules again and again, none of which will ever be garbage.
"""

from __future__ import annotations

import ctypes
import gc

_YOUNG = 10_000  # objects between two walks of the collector; Python's own 700 are not even a batch of jobs


def settle() -> None:
    """Call once, when everything that is loaded is going to stay.

    What jobs are made of dies by itself, without the collector: a batch of them outlives 700 new objects, so that it
    walks them again and again and finds nothing, which was a seventh of the CPU of jobs that do nothing. An
    application that chose a threshold above ours, or none at all, keeps it.
    """
    gc.collect()
    gc.freeze()
    young, *older = gc.get_threshold()
    if 0 < young < _YOUNG:
        gc.set_threshold(_YOUNG, *older)
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return  # not glibc
    trim(0)

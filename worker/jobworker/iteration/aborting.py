"""How an iterating job ends itself in the middle of an item."""

from __future__ import annotations


class Aborted(BaseException):
    """The job ends here because it said so. No Exception, so that no `except` of the job's own takes it for one."""

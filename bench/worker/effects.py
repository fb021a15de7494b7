"""Reads from outside what the jobs of a contestant did: see ``peers/python/effects.py`` for how they write it."""

from __future__ import annotations

from array import array
from pathlib import Path


class Effects:
    """The files of one round. A file is one process's, and has a place for each job."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count

    def clear(self) -> None:
        """Forget the round before."""
        for path in self._folder.iterdir():
            if path.name.startswith(("seen-", "times-", "sent")):
                path.unlink()

    def done(self) -> int:
        """How many jobs ran so far, in all processes; one that ran in two of them counts twice."""
        return sum(self.done_by_process())

    def done_by_process(self) -> list[int]:
        """How many jobs ran so far in each process that has run any."""
        done = (self._count - read.count(0) for read in self._read("seen-"))
        return [jobs for jobs in done if jobs > 0]

    def runs(self) -> tuple[int, int]:
        """How many jobs ran at all, and how many more runs than jobs there were."""
        total = [0] * self._count
        for read in self._read("seen-"):
            total = [before + now for before, now in zip(total, read, strict=True)]
        ran = sum(1 for runs in total if runs)
        return ran, sum(total) - ran

    def started(self) -> list[int]:
        """When each job began, in ns of the monotonic clock; 0 for one that did not. A second run does not count."""
        first = [0] * self._count
        for read in self._read("times-"):
            times = array("q", read)
            first = [min(filter(None, pair), default=0) for pair in zip(first, times, strict=True)]
        return first

    def sent(self) -> list[int]:
        """When the producer began to enqueue each job."""
        path = self._folder / "sent"
        return list(array("q", path.read_bytes())) if path.exists() else [0] * self._count

    def _read(self, prefix: str) -> list[bytes]:
        size = self._count * (8 if prefix == "times-" else 1)
        read = (path.read_bytes() for path in self._folder.glob(f"{prefix}*"))
        # One that is being made is shorter; it is read the next time.
        return [content for content in read if len(content) == size]

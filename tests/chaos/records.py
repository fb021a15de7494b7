"""The second store: files of JSON lines, which no Redis and no SIGKILL can harm.

A line is one `write` to a file opened for appending, so what a process noted before it died is there, whole. Times are
CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

Record = Mapping[str, Any]

FOLDER, LIFE = "CHAOS_FOLDER", "CHAOS_LIFE"
"""Environment of each process of a run: where it notes, and under which name."""


class Journal:
    """Appends records. Opened by each process for itself, also after a fork."""

    def __init__(self, folder: Path, name: str, life: str) -> None:
        self._fd = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._life = life

    def note(self, event: str, **fields: Any) -> None:
        """Write one record down."""
        record = {"t": time.monotonic(), "e": event, "life": self._life, **fields}
        os.write(self._fd, orjson.dumps(record) + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class Own:
    """The journal of this process, found by its environment when first needed; a fork finds its own."""

    def __init__(self) -> None:
        self._pid = 0
        self._journal: Journal | None = None

    def note(self, event: str, **fields: Any) -> None:
        if self._journal is None or self._pid != os.getpid():
            life = os.environ[LIFE]
            self._pid = os.getpid()
            # One file for all lives of a slot: ten thousand lives would be as many files.
            self._journal = Journal(Path(os.environ[FOLDER]), life.rsplit("-", 1)[0], life)
        self._journal.note(event, **fields)


def read(folder: Path) -> list[Record]:
    """All records of a run in the order of their times."""
    return sorted(_lines(sorted(folder.glob("*.jsonl"))), key=lambda record: float(record["t"]))


def _lines(files: Iterable[Path]) -> Iterator[Record]:
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                yield orjson.loads(line)


class Tail:
    """Counts events as they are written, for whoever watches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self.counts: dict[str, int] = {}

    def look(self) -> None:
        """Read what is new."""
        for file in self._folder.glob("*.jsonl"):
            with file.open("rb") as lines:
                lines.seek(self._offsets.get(file, 0))
                new = lines.read()
            whole = new.rfind(b"\n") + 1
            self._offsets[file] = self._offsets.get(file, 0) + whole
            for line in new[:whole].splitlines():
                event = line.split(b'"e":"', 1)[1].split(b'"', 1)[0].decode()
                self.counts[event] = self.counts.get(event, 0) + 1

"""Notices that code has changed, by looking at the times of Python files below a directory."""

from __future__ import annotations

import os
from pathlib import Path

MOST_FILES = 5_000  # a look at so many takes some hundredths of a second

_PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages"})


class Sources:
    """The Python files below ``folder``: not hidden ones, not those of an environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._look()

    @property
    def too_many(self) -> bool:
        """Are there more than can be watched?"""
        return len(self._seen) > MOST_FILES

    def changed(self) -> str | None:
        """A file that was written, made or removed since the last call; None if all are as they were."""
        before, self._seen = self._seen, self._look()
        different = sorted(dict(before.items() ^ self._seen.items()))
        return different[0] if different else None

    def _look(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [
                name
                for name in folders
                if name not in _PASSED_OVER
                and not name.startswith(".")
                and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))  # noqa: PTH110, PTH118  # looked at twice a second
            ]
            for name in files:
                if not name.endswith(".py"):
                    continue
                path = os.path.join(folder, name)  # noqa: PTH118  # as above
                try:
                    found[os.path.relpath(path, self._folder)] = os.stat(path).st_mtime_ns  # noqa: PTH116  # as above
                except OSError:
                    continue  # gone between the two looks
                if len(found) > MOST_FILES:
                    return found
        return found

"""What can go wrong with a test cluster; each message says what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOG_LINES = 15


class ClusterError(Exception):
    """A cluster could not be brought up, changed or taken down. The message is written for the terminal."""


class MissingProgramError(ClusterError):
    """A program that this machine should have is missing; the message names the command that installs it."""


class ComponentError(ClusterError):
    """A component ended or did not answer in time; the message holds its log's path and last lines."""

    def __init__(self, component: str, what: str, log: Path) -> None:
        super().__init__(f"{component} {what}\nIts log is {log}; the last lines:\n{last_lines(log)}")


def last_lines(log: Path, count: int = LOG_LINES) -> str:
    """The end of a log, indented for a message; says so when there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "    (there is no such file: the program was never started)"
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (the log is empty)"

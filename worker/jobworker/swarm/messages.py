"""What the processes of a pod tell each other, over a pair of sockets between the parent and each child.

All of it is state, told again at least every second: a message that finds a full socket is dropped, and the next one
heals it. Only `Order` is told once, to a child whose socket is empty by then or which hangs anyway.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

_LARGEST = 1 << 20  # bytes of a message; a roll of a hundred processes has some thousand


class Order(Enum):
    """What the parent asks of a child that runs jobs."""

    STOP = "stop"
    """As SIGTERM does: jobs have their time. A second one: at once."""
    LEAVE = "leave"
    """Take no more jobs, end when the last one has, however long it takes."""
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Report:
    """What a child that runs jobs tells its parent. Silence means that it hangs.

    ``load`` counts jobs whose code runs there or whose end is not acknowledged; ``quiet``: it was refused jobs;
    ``quiet_here``: a signal made this process quiet.
    """

    load: int
    ready: bool
    quiet: bool
    rss_kb: int
    quiet_here: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """What the process that speaks for the pod has heard from Redis, for all others.

    ``lives`` are the epochs so far, each with whether Redis had lost its data before it, the present one last.
    ``quiet`` was heard at the monotonic time ``at``; ``alive_at`` is that of the last message to Redis after which it
    took the pod for alive.
    """

    lives: tuple[tuple[str, bool], ...]
    ready: bool
    quiet: str | None
    at: float
    alive_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Roll:
    """What the parent knows of its children, for the one that speaks for the pod.

    ``born`` is the number of the youngest, ``living`` those that have not ended: what one from 1 to ``born`` held that
    is not among them belongs to nobody. ``quiet_here`` counts those that a signal made quiet.
    """

    born: int
    living: tuple[int, ...]
    load: int
    ready: bool
    quiet: bool
    rss_kb: int
    stopping: bool = False
    finish: bool = False
    quiet_here: int = 0


Message = Report | Word | Roll | Order


class Channel:
    """One end of the line between the parent and a child. Sending never waits."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends of a new line."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """For selectors and event loops."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, message: Message) -> None:
        """Tell it, unless the other end does not read.

        Raises:
            EOFError: the other end is gone.
        """
        body = message.value if isinstance(message, Order) else message
        try:
            self._socket.send(orjson.dumps([type(message).__name__, body]))
        except BlockingIOError:
            return
        except OSError as error:
            raise EOFError from error

    def receive(self) -> list[Message]:
        """All that was told since.

        Raises:
            EOFError: the other end is gone, and there is nothing left of what it said.
        """
        messages: list[Message] = []
        while True:
            try:
                raw = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return messages
            except OSError as error:
                raise EOFError from error
            if raw:
                messages.append(_read(raw))
            elif messages:
                return messages
            else:
                raise EOFError


def _read(raw: bytes) -> Message:
    kind, body = orjson.loads(raw)
    if kind == "Order":
        return Order(body)
    fields: dict[str, Any] = body
    if kind == "Word":
        return Word(**{**fields, "lives": tuple((epoch, forgotten) for epoch, forgotten in fields["lives"])})
    if kind == "Roll":
        return Roll(**{**fields, "living": tuple(fields["living"])})
    return Report(**fields)


def end_without_parent() -> None:
    """The parent is gone: nobody would hear what this child does, and nobody could end it."""
    os._exit(1)

"""Everything that can be set about a worker process, read once at start.

Names of the environment variables are those that the operator injects; flags of `jobworker run` win over them.
"""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass, field
from enum import Enum

from jobworker.client.connection import DEFAULT_URL
from jobworker.errors import ConfigurationError
from jobworker.protocol.queue_patterns import EXCLUDE
from jobworker.protocol.records import WorkerId

MAX_WEIGHT = 100


class Order(Enum):
    """In which order queues are asked: as written, or by chance according to their weights."""

    STRICT = "Strict"
    WEIGHTED = "Weighted"


@dataclass(frozen=True, slots=True)
class QueueWeight:
    """A queue and its weight, 1 to 100; a queue of weight 5 is asked first five times as often as one of 1."""

    name: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """``worker`` None stands for an identity that was made up at random and never comes back."""

    redis_url: str = DEFAULT_URL
    key_prefix: str = ""
    queues: tuple[QueueWeight, ...] = (QueueWeight("default"),)
    order: Order = Order.WEIGHTED
    concurrency: int = 10
    shutdown_seconds: float = 25.0
    connect_seconds: float = 30.0
    health_port: int = 0
    worker: WorkerId | None = None
    pod: str = ""
    fleet: str = "local/default"
    revision: str = ""
    hostname: str = field(default_factory=socket.gethostname)

    def identity(self) -> WorkerId:
        """The worker's identity: the pod's UID, or a random one."""
        return self.worker or WorkerId(f"{self.hostname}-{secrets.token_hex(4)}")


def parse_queues(text: str) -> tuple[QueueWeight, ...]:
    """Read ``critical,5 default,1`` or ``critical default``: names with optional weights.

    ``mail_*`` takes all queues of such names, also those that do not exist yet, and ``!mail_bulk`` leaves one out.

    Raises:
        ConfigurationError: no queue, one twice, or a weight out of 1 to 100.
    """
    queues = tuple(_queue(part) for part in re.split(r"\s+", text.strip()) if part)
    if not queues:
        raise ConfigurationError("no queue is named; write for example: critical,5 default,1")
    names = [queue.name for queue in queues]
    if all(name.startswith(EXCLUDE) for name in names):
        raise ConfigurationError(f"{text.strip()!r} only leaves queues out; name those to take as well, for example: *")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"the queue {twice[0]} is named twice; give it a weight instead: {twice[0]},2")
    return queues


def _queue(part: str) -> QueueWeight:
    name, comma, weight = part.partition(",")
    if not name.removeprefix(EXCLUDE):
        raise ConfigurationError(f"{part!r} names no queue; write NAME or NAME,WEIGHT")
    if not comma:
        if name.isascii() and name.isdigit():
            raise ConfigurationError(
                f"{part!r} is a number where a queue was expected; a weight stands behind its queue, as in "
                f"mails,{part}, and a queue of that name is written {part},1"
            )
        return QueueWeight(name)
    if name.startswith(EXCLUDE):
        raise ConfigurationError(f"{part!r}: a queue that is left out has no weight")
    if not weight.isascii() or not weight.isdigit() or not 1 <= int(weight) <= MAX_WEIGHT:
        raise ConfigurationError(
            f"{part!r}: the weight must be a whole number from 1 to {MAX_WEIGHT}; separate queues by spaces"
        )
    return QueueWeight(name, int(weight))

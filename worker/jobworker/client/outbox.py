"""Jobs that wait in this process while Redis is away, as in the reliable push of Sidekiq Pro.

A thread sends them as soon as Redis is back, in their order and each once. An answer that was lost leaves it open
whether jobs are in Redis: so each push carries a guard from its first try on, and is asked again with it until Redis
has answered (`lua/_once.lua`). What is left at the end of the process is told by jid.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import redis
from redis import exceptions

from jobworker.client import wire
from jobworker.client.connection import connect_sync, without_password
from jobworker.client.push import Guard, Push
from jobworker.errors import ConfigurationError, PushBufferFull
from jobworker.protocol.keys import Keys

log = logging.getLogger("jobworker.push")

CAPACITY = 1_000  # jobs; the default of Sidekiq Pro
CLOSE_SECONDS = 1.0  # what closing a client waits for Redis: a worker does it within the time that its pod has left
_EXIT_SECONDS = 3.0  # what the end of the process waits
_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two attempts
_REMIND = 30.0  # seconds after which an outage is told again
_JIDS_IN_LINE = 40

_OUTAGE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    OSError,
)
_NO_OUTAGE = (exceptions.AuthenticationError, exceptions.AuthorizationError)  # kinds of ConnectionError in redis-py


def is_outage(error: BaseException) -> bool:
    """Is Redis away, or on its way back, so that a later attempt may succeed by itself?"""
    return isinstance(error, _OUTAGE) and not isinstance(error, _NO_OUTAGE)


class Outbox:
    """Holds at most ``capacity`` jobs for one Redis, and the pushes that were under way when it went.

    Safe to share between threads. A child process that was forked begins with an empty one: what waits is its
    parent's to send.
    """

    def __init__(self, redis_url: str, key_prefix: str, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._connect = partial(connect_sync, redis_url, key_prefix)
        self._address = without_password(redis_url)
        self._keys = Keys(key_prefix)
        self.begin()
        _ALL.add(self)

    def begin(self) -> None:
        """Be empty, with no thread: what waits belongs to the process that this one was forked from."""
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._waiting: deque[Push] = deque()
        self._jobs = 0
        self._thread: threading.Thread | None = None
        self._since = self._said = 0.0
        self._error = ""
        self._producer = secrets.token_hex(8)
        self._guards: list[bytes] = []

    @property
    def jobs(self) -> int:
        """How many jobs wait here."""
        return self._jobs

    @contextmanager
    def attempt(self, push: Push) -> Iterator[bool]:
        """Around sending a push. False: others wait already, and it waits behind them. An outage inside is taken over.

        Raises:
            PushBufferFull: Redis is away, and there is no room.
        """
        if self._waiting:
            self._add(push)
            yield False
            return
        guard = self._guard(push)
        try:
            yield True
        except Exception as error:
            # The guard stays with the push, or with nobody: what was sent may still arrive.
            if not is_outage(error):
                raise
            self._add(push, error)
        else:
            self._guards.append(guard)

    def drain(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait so long at most until nothing waits here any more; what still does is told, and given up. False then."""
        self._wake.set()
        with self._changed:
            if self._changed.wait_for(lambda: not self._waiting, seconds):
                return True
            left = [jid for push in self._waiting for jid in push.jids]
            self._waiting.clear()
            self._jobs = 0
        for at in range(0, len(left), _JIDS_IN_LINE):
            log.critical(
                "%d jobs that were accepted are lost (the first perhaps not: its answer may be what is missing), since "
                "Redis did not answer before this process closed its connections (%s): jids %s",
                len(left),
                self._error,
                " ".join(left[at : at + _JIDS_IN_LINE]),
                extra={"redis": self._address},
            )
        return False

    def _guard(self, push: Push) -> bytes:
        try:
            key = self._guards.pop()
        except IndexError:
            key = self._keys.pushed(f"{self._producer}:{secrets.token_hex(4)}").encode()
        push.guard = Guard(key, push.jids[0].encode())
        return key

    def _add(self, push: Push, error: BaseException | None = None) -> None:
        with self._changed:
            if error is not None:
                self._failed(error)
            # Beyond the bound too if it was tried already: it may be in Redis, and a refusal says that it is not.
            elif self._jobs + len(push.jids) > self.capacity:
                raise PushBufferFull(
                    f"Redis at {self._address} is away ({self._error}), and {self._jobs} jobs wait for it in this "
                    f"process, of {self.capacity} that reliable_push allows: {len(push.jids)} more were not accepted"
                )
            self._waiting.append(push)
            self._jobs += len(push.jids)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="jobworker-push", daemon=True)
                self._thread.start()
        self._wake.set()

    def _failed(self, error: BaseException) -> None:
        now = time.monotonic()
        self._error = f"{type(error).__name__}: {error}"
        if not self._since:
            self._since = self._said = now
            log.error(
                "Redis is away (%s): jobs wait in this process until it is back, at most %d of them",
                self._error,
                self.capacity,
                extra={"redis": self._address},
            )
        elif now - self._said >= _REMIND:
            self._said = now
            log.error(
                "Redis is still away (%s): %d jobs wait in this process, of at most %d",
                self._error,
                self._jobs,
                self.capacity,
                extra={"redis": self._address, "seconds": round(now - self._since)},
            )

    # ── the thread: it lives while anything waits ──────────────────────────────

    def _send_all(self) -> None:
        try:
            with self._connect() as connection:
                self._send_each(connection)
        except BaseException:
            with self._changed:
                self._thread = None  # a defect; the next push begins another
            raise

    def _send_each(self, connection: redis.Redis) -> None:
        pause = _SHORTEST
        while (push := self._first()) is not None:
            self._wake.clear()
            guard = self._guard(push) if push.guard is None else None
            try:
                wire.send(connection, push)
            except (exceptions.RedisError, OSError) as error:
                # Also what Redis refuses stays: nobody is left whom it could be told, and the order counts.
                with self._changed:
                    self._failed(error)
                time.sleep(_SHORTEST)  # a producer that pushes on and on does not make attempts any faster
                self._wake.wait(pause * random.uniform(0.5, 1.0))
                pause = min(_LONGEST, pause * 2)
            else:
                pause = _SHORTEST
                if guard is not None:
                    self._guards.append(guard)
                self._sent(push)

    def _first(self) -> Push | None:
        with self._changed:
            if self._waiting:
                return self._waiting[0]
            self._thread = None
            self._since = 0.0
            return None

    def _sent(self, push: Push) -> None:
        with self._changed:
            # RACE `drain` may have given it up meanwhile: then it was told as lost and is in Redis all the same.
            if self._waiting and self._waiting[0] is push:
                self._waiting.popleft()
                self._jobs -= len(push.jids)
            if not self._waiting:
                log.info(
                    "Redis is back, and all jobs that waited in this process are in it",
                    extra={"redis": self._address, "seconds": round(time.monotonic() - self._since, 1)},
                )
                self._changed.notify_all()


_ALL: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _at_exit() -> None:
    for outbox in list(_ALL):
        outbox.drain(_EXIT_SECONDS)


def _after_fork() -> None:
    for outbox in list(_ALL):
        outbox.begin()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)


def outbox_for(redis_url: object, key_prefix: str, reliable_push: bool | int | Outbox) -> Outbox | None:  # noqa: FBT001  # the option has these types
    """The outbox that a client's ``reliable_push`` asks for: none, a shared one, or one of its own.

    Raises:
        ConfigurationError: the client was given a connection, not an address at which the thread could open its own.
    """
    if isinstance(reliable_push, Outbox):
        return reliable_push
    capacity = CAPACITY if reliable_push is True else int(reliable_push)
    if capacity == 0:
        return None
    if capacity < 0:
        raise ConfigurationError(f"reliable_push is {capacity}; it is True, False or how many jobs may wait")
    if not isinstance(redis_url, str):
        raise ConfigurationError("reliable_push opens a connection of its own: give the client the address of Redis")
    return Outbox(redis_url, key_prefix, capacity)

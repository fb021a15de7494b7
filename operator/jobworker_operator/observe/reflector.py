"""Mirrors one collection of the API server in memory, trimmed, and reports every change, also those that it missed.

kopf lists again after a lost watch but compares nothing, so what was deleted meanwhile stays for ever; here a list is
compared with what was known, and what is gone is reported as gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Expired, Forbidden, KubeError, Unavailable
from jobworker_operator.kube.resources import Resource

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_SHORT_WATCH = 1.0  # seconds: a stream that ends sooner is not asked for again at once


class Reflector(Generic[T]):
    """``items`` by UID. ``trim`` makes a value of an object, or None for one that does not concern us.

    ``changed`` is called with UID, old and new value, None for "not there"; it must not fail or wait.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        namespace: str | None,
        selector: str,
        trim: Callable[[dict[str, Any]], T | None],
        changed: Callable[[str, T | None, T | None], None],
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.items: dict[str, T] = {}
        self.synced = asyncio.Event()
        self.lists = 0
        self.heard_at = time.monotonic()
        """Monotonic time of the last sign of life: an event, a bookmark or a list."""
        self._kube = kube
        self._selector = selector
        self._trim = trim
        self._changed = changed
        self._failures = 0
        self._version = ""

    async def run(self) -> None:
        """List and watch for ever."""
        version: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._list()
                    self.synced.set()
                while True:
                    version = await self._watch(version)
            except Expired as error:
                version = None
                log.info("Listing %s again: %s", self._what, error)
            except KubeError as error:
                # A stream that broke goes on where it stood; if that is too long ago, the server says so.
                version = self._version if version is not None else None
                self._tell(error)
            await asyncio.sleep(self._pause())

    def _tell(self, error: KubeError) -> None:
        if isinstance(error, Unavailable) and not self._failures:
            log.info("Following %s anew: %s", self._what, error)
            return
        log.log(
            logging.ERROR if isinstance(error, Forbidden) else logging.WARNING,
            "Cannot follow %s, what is known of them stands still until this works again: %s", self._what, error,
        )  # fmt: skip

    async def _list(self) -> str:
        alive: set[str] = set()
        version = ""
        async for page in self._kube.pages(self.resource, self.namespace, self._selector):
            for obj in page["items"]:
                alive.add(obj["metadata"]["uid"])
                self._put(obj)
            version = page["metadata"]["resourceVersion"]
            self.heard_at = time.monotonic()
        for uid in self.items.keys() - alive:  # gone while nobody watched
            self._drop(uid)
        self.lists += 1
        return version

    async def _watch(self, version: str) -> str:
        begun = time.monotonic()
        self._version = version
        async for kind, obj in self._kube.watch(self.resource, self.namespace, version, self._selector):
            self.heard_at = time.monotonic()
            self._failures = 0
            self._version = obj["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._drop(obj["metadata"]["uid"])
            elif kind != "BOOKMARK":
                self._put(obj)
        self.heard_at = time.monotonic()
        if self.heard_at - begun < _SHORT_WATCH:
            await asyncio.sleep(self._pause())
        return self._version

    def _put(self, obj: dict[str, Any]) -> None:
        uid: str = obj["metadata"]["uid"]
        new = self._trim(obj)
        if new is None:
            self._drop(uid)
            return
        old = self.items.get(uid)
        self.items[uid] = new
        if old != new:
            self._changed(uid, old, new)

    def _drop(self, uid: str) -> None:
        old = self.items.pop(uid, None)
        if old is not None:
            self._changed(uid, old, None)

    def _pause(self) -> float:
        # Jitter, so that all operators of a data centre do not come back at the same moment.
        self._failures += 1
        return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))

    @property
    def _what(self) -> str:
        return f"{self.resource.plural} in {self.namespace or 'all namespaces'}"

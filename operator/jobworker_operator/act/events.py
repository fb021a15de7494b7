"""Posts Kubernetes Events about JobWorkers: one a minute of the same words, and a count instead of a crowd.

Events are for people to read, so nothing waits for them: they queue, they yield to other writes, and one that cannot
be posted is logged and dropped.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.closing import Closing
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import KubeError, NamespaceTerminating, NotFound
from jobworker_operator.kube.resources import EVENTS
from jobworker_operator.model.actions import Event
from jobworker_operator.model.names import API_VERSION, KIND, MANAGER
from jobworker_operator.model.spec import JobWorker, Key
from jobworker_operator.model.times import to_rfc3339

log = logging.getLogger(__name__)

SAME_SECONDS = 60.0
_SERIES_SECONDS = 3600.0  # the API server keeps an Event for an hour; later there is none to count on
_WAITING = 500  # Events that may wait; more than this means that nobody could read them anyway
_MESSAGE = 1024  # characters that the API server accepts
_KNOWN = 2000  # series that are remembered


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    posted_at: float
    first_at: str


class EventRecorder:
    """Use `post` from anywhere; `run` does the writing."""

    def __init__(
        self,
        kube: Kube,
        budget: WriteBudget,
        instance: str,
        closing: Closing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._budget = budget
        self._instance = instance
        self.closing = closing
        self._clock = clock
        self._series: dict[tuple[str, Event], _Series] = {}
        self._waiting: asyncio.Queue[tuple[JobWorker, Event]] = asyncio.Queue(_WAITING)

    def post(self, jobworker: JobWorker, event: Event) -> None:
        """Post it soon, unless the same was posted within the last minute."""
        if jobworker in self.closing:
            return
        series = self._series.get((jobworker.uid, event))
        now = self._clock()
        if series is not None and now - series.posted_at < SAME_SECONDS:
            return
        if series is None:
            if len(self._series) >= _KNOWN:
                del self._series[next(iter(self._series))]
            self._series[jobworker.uid, event] = _Series("", 0, now, "")
        else:
            series.posted_at = now
        try:
            self._waiting.put_nowait((jobworker, event))
        except asyncio.QueueFull:
            log.warning("Too many Events wait, dropped one about %s: %s", jobworker.key, event.message)

    def forget(self, key: Key, uid: str) -> None:
        """The JobWorker is gone."""
        for known in [known for known in self._series if known[0] == uid]:
            del self._series[known]
        log.debug("Forgot the Events of %s", key)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            jobworker, event = await self._waiting.get()
            await self._write_or_drop(jobworker, event)

    async def flush(self) -> None:
        """Write what waits now."""
        while not self._waiting.empty():
            await self._write_or_drop(*self._waiting.get_nowait())

    async def _write_or_drop(self, jobworker: JobWorker, event: Event) -> None:
        if jobworker in self.closing:
            return
        try:
            await self._write(jobworker, event)
        except NamespaceTerminating:
            self.closing.add(jobworker)
        except KubeError as error:
            log.warning("Could not post the Event %s (%s): %s", event.reason, event.message, error)

    async def _write(self, jobworker: JobWorker, event: Event) -> None:
        series = self._series.get((jobworker.uid, event)) or _Series("", 0, self._clock(), "")
        now = to_rfc3339(time.time())
        await self._budget.take()
        if series.name and self._clock() - series.posted_at < _SERIES_SECONDS:
            try:
                changes = {"count": series.count + 1, "lastTimestamp": now}
                await self._kube.patch(EVENTS, jobworker.key.namespace, series.name, changes)
                series.count += 1
                return
            except NotFound:
                series.name = ""
        series.name, series.count, series.first_at = f"{jobworker.key.name}.{secrets.token_hex(8)}", 1, now
        await self._kube.create(EVENTS, jobworker.key.namespace, self._body(jobworker, event, series))

    def _body(self, jobworker: JobWorker, event: Event, series: _Series) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": jobworker.key.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": jobworker.key.namespace,
                "name": jobworker.key.name,
                "uid": jobworker.uid,
            },
            "reason": event.reason,
            "message": event.message[:_MESSAGE],
            "type": event.type,
            "count": series.count,
            "firstTimestamp": series.first_at,
            "lastTimestamp": series.first_at,
            "source": {"component": MANAGER},
            "reportingComponent": f"jobworker.dev/{MANAGER}",
            "reportingInstance": self._instance,
        }

"""A witness who watches pods and Redis from outside and writes down every broken promise.

It shares no code with the operator: pods come from the API server's own watch, jobs from the working sets in Redis.
At the moment when a pod's deletion is first seen, its working set is read; a deletion that the test itself asked for
is expected by name.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import redis

from tests.cluster.platform import Shop


@dataclass
class Findings:
    """What the witness saw. Times are seconds since it began."""

    deleted_while_holding: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    longest_pause_seconds: float = 0.0
    fewest_ready: int | None = None
    most_pods: int = 0
    errors: list[str] = field(default_factory=list)


class Witness:
    """Watches one JobWorker of a shop between ``with`` and its end."""

    def __init__(
        self,
        shop: Shop,
        client: redis.Redis,
        name: str = "shop",
        *,
        done: Callable[[], int] | None = None,
        enough: int | None = None,
    ) -> None:
        """``done`` counts units of work; pauses are measured until there are ``enough`` of them."""
        self.findings = Findings()
        self._shop = shop
        self._redis = client
        self._name = name
        self._done = done
        self._enough = enough
        self._expected: set[str] = set()
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._pods: dict[str, dict[str, Any]] = {}
        self._seen_deleting: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._stream: subprocess.Popen[bytes] | None = None
        self._ready_matters = False
        self._seen_at: dict[str, float] = {}
        self._ready_at: dict[str, float] = {}

    def expect_deletion(self, uid: str) -> None:
        """The test itself deletes this pod."""
        self._expected.add(uid)

    def count_ready_from_now(self) -> None:
        """From here on the fewest ready pods are remembered."""
        self._ready_matters = True

    def pods(self) -> list[dict[str, Any]]:
        """The pods as the watch last showed them."""
        return list(self._pods.values())

    def started_in(self) -> list[float]:
        """Seconds from first sight to ready, of each pod that appeared and became ready meanwhile."""
        return [self._ready_at[uid] - seen for uid, seen in self._seen_at.items() if uid in self._ready_at]

    def __enter__(self) -> Witness:  # noqa: PYI034  # it is never subclassed
        listing = self._list()
        for pod in listing["items"]:
            self._pods[pod["metadata"]["uid"]] = pod
        watch = threading.Thread(target=self._watch, args=(listing["metadata"]["resourceVersion"],), daemon=True)
        self._threads = [watch]
        if self._done is not None:
            self._threads.append(threading.Thread(target=self._measure, args=(self._done,), daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._stream is not None:
            self._stream.terminate()
        for thread in self._threads:
            thread.join(5)

    def _path(self, **query: str) -> str:
        query["labelSelector"] = f"jobworker.dev/jobworker={self._name}"
        pairs = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        return f"/api/v1/namespaces/{self._shop.namespace}/pods?{pairs}"

    def _list(self) -> Any:
        return json.loads(self._shop.platform.kubectl("get", "--raw", self._path()).stdout)

    def _watch(self, version: str) -> None:
        while not self._stop.is_set():
            try:
                for event in self._events(version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._look(event["type"], event["object"])
            except (OSError, ValueError, KeyError, redis.RedisError) as error:
                if not self._stop.is_set():
                    self.findings.errors.append(f"watch: {error!r}")

    def _events(self, version: str) -> Iterator[dict[str, Any]]:
        path = self._path(watch="true", resourceVersion=version)
        command = [*self._shop.platform.cluster.kubectl_command(), "get", "--raw", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as self._stream:
            assert self._stream.stdout is not None
            for line in self._stream.stdout:
                yield json.loads(line)

    def _look(self, kind: str, pod: dict[str, Any]) -> None:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        if kind == "ADDED":
            self._seen_at[uid] = time.monotonic()
        if _ready(pod):
            self._ready_at.setdefault(uid, time.monotonic())
        going = kind == "DELETED" or "deletionTimestamp" in pod["metadata"]
        if going and uid not in self._seen_deleting:
            self._seen_deleting.add(uid)
            held = self._redis.hlen(f"jw:working:{uid}")
            at = time.monotonic() - self._began
            self.findings.deleted.append(f"{name} at {at:.1f} s")
            if held and uid not in self._expected:
                self.findings.deleted_while_holding.append(f"{name} held {held} jobs at {at:.1f} s")
        if kind == "DELETED":
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = pod
        staying = sum("deletionTimestamp" not in p["metadata"] for p in self._pods.values())
        self.findings.most_pods = max(self.findings.most_pods, staying)
        if self._ready_matters:
            ready = sum(_ready(p) for p in self._pods.values())
            fewest = self.findings.fewest_ready
            self.findings.fewest_ready = ready if fewest is None else min(ready, fewest)

    def _measure(self, done: Callable[[], int]) -> None:
        last, changed = -1, time.monotonic()
        while not self._stop.wait(0.1):
            try:
                count = done()
            except redis.RedisError as error:
                self.findings.errors.append(f"progress: {error}")
                continue
            now = time.monotonic()
            if last > 0 and (self._enough is None or last < self._enough):
                self.findings.longest_pause_seconds = max(self.findings.longest_pause_seconds, now - changed)
            if count != last:
                last, changed = count, now


def _ready(pod: dict[str, Any]) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

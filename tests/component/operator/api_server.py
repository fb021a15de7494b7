"""A small API server for tests: versions, preconditions, paged lists, watches, and faults on demand.

It is faithful where the operator depends on it (409, 410, 422, deletionTimestamp, the order of watch events) and
knows nothing else: no validation, no admission, no garbage collection.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from jobworker_operator.kube.access import Access
from jobworker_operator.kube.client import Kube

Json = dict[str, Any]
Watcher = asyncio.Queue[Json | None]


@dataclass(slots=True)
class Call:
    """A request as it came in."""

    verb: str
    path: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)


class ApiServer:
    """Objects by the path of their collection and their name."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.collections: dict[str, dict[str, Json]] = {}
        self.version = 100
        self.page_size: int | None = None
        self.refusals: list[tuple[str, str, int, str]] = []
        """Verb, end of the path, status and message of calls to refuse, each once."""
        self.refuse_always: list[tuple[str, str, int, str]] = []
        self.watchers: list[tuple[str, Watcher]] = []
        self.clock_ahead = 0.0
        """Seconds that its clock is ahead of ours."""

    def kube(self, **options: Any) -> Kube:
        """A client of this server."""
        access = Access(self.url, None, None, None, verify=True, configuration=Configuration(host=self.url))
        return Kube(access, **options)

    def put(self, collection: str, obj: Json, *, tell: bool = True) -> Json:
        """Create or replace an object as somebody else would. ``tell`` False: no watch is told."""
        metadata = obj["metadata"]
        stored = self.collections.setdefault(collection, {})
        kind = "MODIFIED" if metadata["name"] in stored else "ADDED"
        self.version += 1
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata["resourceVersion"] = str(self.version)
        stored[metadata["name"]] = obj
        if tell:
            self.tell(collection, kind, obj)
        return obj

    def remove(self, collection: str, name: str, *, tell: bool = True) -> None:
        """Remove an object for good."""
        obj = self.collections[collection].pop(name)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if tell:
            self.tell(collection, "DELETED", obj)

    def tell(self, collection: str, kind: str, obj: Json) -> None:
        """Send an event to all watches of a collection."""
        for watched, watcher in self.watchers:
            if watched == collection:
                watcher.put_nowait({"type": kind, "object": copy.deepcopy(obj)})

    def expire_watches(self) -> None:
        """End all watches with the error of a version that is too old."""
        for _, watcher in self.watchers:
            watcher.put_nowait({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})

    def end_watches(self) -> None:
        """End all watches as the server does every few minutes."""
        for _, watcher in self.watchers:
            watcher.put_nowait(None)

    def count(self, verb: str, end: str = "") -> int:
        """How many calls of a verb came in, to paths that end so."""
        return sum(call.verb == verb and call.path.endswith(end) for call in self.calls)

    # ── HTTP ───────────────────────────────────────────────────────────────────
    async def handle(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911  # one answer for each verb
        path, query = request.path, dict(request.query)
        verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[request.method]
        collection, name, subresource = _split(path)
        if verb == "get" and not name:
            verb = "watch" if "watch" in query else "list"
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.calls.append(Call(verb, path, body, query))
        refusal = self._refusal(verb, path)
        if refusal is not None:
            return _failure(*refusal)
        match verb:
            case "list":
                return self._list(collection, query)
            case "watch":
                return await self._watch(request, collection)
            case "create":
                return self._create(collection, body)
            case "patch":
                return self._patch(collection, name, subresource, body, request.content_type)
            case "delete":
                return self._delete(collection, name, body or {})
            case _:
                obj = self.collections.get(collection, {}).get(name)
                return _failure(404, f'"{name}" not found') if obj is None else web.json_response(obj)

    def _refusal(self, verb: str, path: str) -> tuple[int, str] | None:
        for refusal in [*self.refusals, *self.refuse_always]:
            if refusal[0] == verb and path.endswith(refusal[1]):
                if refusal in self.refusals:
                    self.refusals.remove(refusal)
                return refusal[2], refusal[3]
        return None

    def _list(self, collection: str, query: dict[str, str]) -> web.Response:
        items = sorted(self.collections.get(collection, {}).values(), key=lambda obj: obj["metadata"]["name"])
        start = int(query.get("continue", "0"))
        size = self.page_size or len(items) or 1
        metadata = {"resourceVersion": str(self.version)}
        if start + size < len(items):
            metadata["continue"] = str(start + size)
        return web.json_response({"metadata": metadata, "items": items[start : start + size]})

    async def _watch(self, request: web.Request, collection: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        watcher: Watcher = asyncio.Queue()
        self.watchers.append((collection, watcher))
        try:
            while (event := await watcher.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self.watchers.remove((collection, watcher))
        return response

    def _create(self, collection: str, body: Any) -> web.Response:
        metadata = body["metadata"]
        if "name" not in metadata:
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        if metadata["name"] in self.collections.get(collection, {}):
            return _failure(409, "already exists")
        metadata["uid"] = str(uuid.uuid4())
        return web.json_response(self.put(collection, body), status=201)

    def _patch(self, collection: str, name: str, subresource: str, body: Any, media: str) -> web.Response:
        known = self.collections.get(collection, {}).get(name)
        if known is None:
            return _failure(404, f'"{name}" not found')
        obj = copy.deepcopy(known)
        if media == "application/json-patch+json":
            for step in body:
                if not _apply(obj, step):
                    return _failure(422, "the server rejected our request due to an error in our request")
        else:
            for field_name in ("uid", "resourceVersion"):
                wanted = (body.get("metadata") or {}).get(field_name)
                if wanted is not None and wanted != obj["metadata"][field_name]:
                    return _failure(409, "the object has been modified")
            _merge(obj, {"status": body["status"]} if subresource == "status" else body)
        if obj == known:
            return web.json_response(known)  # as the real one does: no new version for no change
        return web.json_response(self.put(collection, obj))

    def _delete(self, collection: str, name: str, options: Json) -> web.Response:
        obj = self.collections.get(collection, {}).get(name)
        if obj is None:
            return _failure(404, f'"{name}" not found')
        for field_name, wanted in (options.get("preconditions") or {}).items():
            if obj["metadata"][field_name] != wanted:
                return _failure(409, f"Precondition failed: {field_name}")
        obj = copy.deepcopy(obj)
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return web.json_response(self.put(collection, obj))


@asynccontextmanager
async def serving() -> AsyncIterator[ApiServer]:
    """An API server on a free port of the loopback interface."""
    server = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)

    async def stamp(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(time.time() + server.clock_ahead, usegmt=True)

    app.on_response_prepare.append(stamp)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.end_watches()
        await runner.cleanup()


def _split(path: str) -> tuple[str, str, str]:
    parts = path.strip("/").split("/")
    plural_at = (2 if parts[0] == "api" else 3) + (2 if "namespaces" in parts else 0)
    collection = "/" + "/".join(parts[: plural_at + 1])
    rest = [*parts[plural_at + 1 :], "", ""]
    return collection, rest[0], rest[1]


def _failure(status: int, message: str) -> web.Response:
    body: Json = {"kind": "Status", "code": status, "message": message}
    if "being terminated" in message:
        body["details"] = {"causes": [{"reason": "NamespaceTerminating"}]}
    return web.json_response(body, status=status)


def _apply(obj: Json, step: Json) -> bool:
    *parents, last = step["path"].strip("/").split("/")
    target: Any = obj
    for parent in parents:
        target = target[parent]
    if step["op"] == "test":
        return bool(target.get(last) == step["value"])
    target[last] = step["value"]
    return True


def _merge(obj: Json, patch: Json) -> None:
    for name, value in patch.items():
        if value is None:
            obj.pop(name, None)
        elif isinstance(value, dict) and isinstance(obj.get(name), dict):
            _merge(obj[name], value)
        elif isinstance(value, dict):
            obj[name] = {}
            _merge(obj[name], value)
        else:
            obj[name] = value

"""A thin client of the API server: raw JSON on one HTTP session, one tree of errors, a timeout on every call.

It knows no kinds and keeps no state. Typed models are left out on purpose: validating a pod costs twenty times what
reading the eight fields does that matter here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import orjson

from jobworker_operator.kube.access import Access
from jobworker_operator.kube.errors import Expired, KubeError, Unavailable, error_of
from jobworker_operator.kube.resources import Resource

Json = dict[str, Any]
OnCall = Callable[[str, str, int, float], None]
"""Called after each request with verb, plural, HTTP status (0 = no answer) and seconds."""

log = logging.getLogger(__name__)

CALL_SECONDS = 15.0
SILENCE_SECONDS = 70.0  # a live watch sends a bookmark about once a minute
WATCH_SECONDS = 290  # the server ends the watch after it, so that load spreads over API servers anew
PAGE = 500
_SAME_CLOCK_SECONDS = 3.0

_MEDIA = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}
_READ_BUFFER = 2**22  # bytes of one watch line at most: an object is at most 1.5 MiB in etcd


def _ignore(_verb: str, _plural: str, _status: int, _seconds: float) -> None:
    """No one asked to hear of calls."""


class Kube:
    """Calls to one API server. Use it as an async context manager.

    Every method raises a `KubeError`; one without an answer raises `Unavailable`, and then a write may have happened.
    """

    def __init__(self, access: Access, *, on_call: OnCall = _ignore, call_seconds: float = CALL_SECONDS) -> None:
        self._access = access
        self._on_call = on_call
        self._call_seconds = call_seconds
        self._session: aiohttp.ClientSession | None = None
        self._ahead = 0.0

    def now(self) -> float:
        """Epoch seconds by the API server's clock, which its objects are stamped with, as its answers tell it."""
        return time.time() + self._ahead

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._access.ssl_context(), limit=64),
            headers={"Accept": "application/json", "User-Agent": "jobworker-operator"},
            read_bufsize=_READ_BUFFER,
        )
        self._access.keep_fresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        await self._access.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object."""
        return await self._call("GET", "get", resource, resource.path(namespace, name))

    async def pages(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[Json]:
        """The pages of a list, each a List object; the last one's resourceVersion is where a watch goes on."""
        params = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self._call("GET", "list", resource, resource.path(namespace), params=params)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            params["continue"] = token

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Json:
        """Create an object and return it as the server holds it."""
        return await self._call("POST", "create", resource, resource.path(namespace), body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        media: Literal["merge", "json"] = "merge",
        subresource: str = "",
    ) -> Json:
        """Change an object. A ``metadata.resourceVersion`` in a merge patch must be the present one (`Conflict`).

        A failed ``test`` of a JSON patch is `Invalid`.
        """
        path = resource.path(namespace, name, subresource)
        return await self._call("PATCH", "patch", resource, path, body=body, content_type=_MEDIA[media])

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        """Delete exactly this object, in exactly this state where a version is given (`Conflict` otherwise)."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self._call("DELETE", "delete", resource, resource.path(namespace, name), body=body)

    async def watch(
        self, resource: Resource, namespace: str | None, version: str, selector: str = ""
    ) -> AsyncIterator[tuple[str, Json]]:
        """Type and object of each event after ``version``, bookmarks included, until the server ends the stream.

        Raises:
            Expired: ``version`` is too old, or the server sent an ERROR event: list again.
            Unavailable: the stream broke, or was silent for longer than bookmarks allow.
        """
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
            **({"labelSelector": selector} if selector else {}),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._call_seconds, sock_read=SILENCE_SECONDS)
        asked = f"watch {resource.plural}"
        begun = time.monotonic()
        status = 0
        try:
            url = self._access.server + resource.path(namespace)
            headers = await self._headers()
            async with self._http.get(url, params=params, headers=headers, timeout=timeout) as response:
                status = response.status
                self._on_call("watch", resource.plural, status, time.monotonic() - begun)
                if status >= 400:  # noqa: PLR2004  # HTTP's border between answers and errors
                    raise error_of(status, asked, _json(await response.read()))
                async for line in response.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _watch_error(asked, event["object"])
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if not status:
                self._on_call("watch", resource.plural, 0, time.monotonic() - begun)
            raise Unavailable(f"{asked}: the stream broke ({_words(error)})") from error

    async def _call(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        data = None if body is None else orjson.dumps(body)
        asked = f"{verb} {path.removeprefix('/apis/').removeprefix('/api/')}"
        begun = time.monotonic()
        status = 0
        try:
            async with asyncio.timeout(self._call_seconds):
                headers = await self._headers()
                if data is not None:
                    headers["Content-Type"] = content_type
                async with self._http.request(
                    method, self._access.server + path, params=params, data=data, headers=headers
                ) as response:
                    status = response.status
                    self._read_clock(response.headers.get("Date"))
                    answer = _json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{asked}: no answer from {self._access.server} ({_words(error)})") from error
        finally:
            self._on_call(verb, resource.plural, status, time.monotonic() - begun)
        if status >= 400:  # noqa: PLR2004  # HTTP's border between answers and errors
            raise error_of(status, asked, answer)
        if not isinstance(answer, dict):
            raise Unavailable(f"{asked}: the answer is no JSON object", status)
        return answer

    def _read_clock(self, date: str | None) -> None:
        try:
            ahead = 0.0 if date is None else parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            return
        # The header has whole seconds and travels a while, so a small difference is none.
        ahead = ahead if abs(ahead) > _SAME_CLOCK_SECONDS else 0.0
        if abs(ahead - self._ahead) > _SAME_CLOCK_SECONDS:
            log.warning(
                "The clock of the API server is %+.0f s from this machine's; its own is used for what it has stamped. "
                "Let NTP set both",
                ahead,
            )
            self._ahead = ahead

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Kube inside `async with`")
        return self._session

    async def _headers(self) -> dict[str, str]:
        authorization = await self._access.authorization()
        return {"Authorization": authorization} if authorization else {}


def _watch_error(asked: str, status: Json) -> KubeError:
    # Whatever the server could not send, what comes after it cannot be trusted to be complete: list again.
    return Expired(f"{asked}: {status.get('message') or 'the server ended the stream'}", int(status.get("code") or 0))


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw[:200].decode("utf-8", "replace")} if raw else {}


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__

"""What each answer of the API server becomes."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from jobworker_operator.kube.access import NoAccess, load_access
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import (
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from jobworker_operator.kube.resources import PODS
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import ALL_PODS, pod
from tests.component.operator.objects import PODS as SHOP_PODS
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Expired),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_each_status_is_one_kind_of_error(
    api: ApiServer, kube: Kube, status: int, error: type[KubeError]
) -> None:
    api.refusals.append(("get", "pods/a", status, "the server's own words"))
    with pytest.raises(error, match=r"get v1/namespaces/shop/pods/a: the server's own words") as caught:
        await kube.get(PODS, "shop", "a")
    assert type(caught.value) is error
    assert caught.value.status == status
    assert caught.value.words == "the server's own words"


def is_now(kube: Kube) -> bool:
    """By this machine's own clock, however long the looks at it take."""
    return time.time() <= kube.now() <= time.time()


@pytest.mark.parametrize("ahead", [60.0, -60.0])
async def test_now_is_the_time_of_the_api_server(
    api: ApiServer, kube: Kube, ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(SHOP_PODS, pod("a"))
    await kube.get(PODS, "shop", "a")
    assert is_now(kube), "a difference of whole seconds was taken for news"
    api.clock_ahead = ahead
    for _ in range(3):
        await kube.get(PODS, "shop", "a")
    assert kube.now() == pytest.approx(time.time() + ahead, abs=30), "neither this machine's time, nor the wrong way"
    assert caplog.text.count("NTP") == 1
    api.clock_ahead = 0.0
    await kube.get(PODS, "shop", "a")
    assert is_now(kube)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = ApiServer()
    api.url = f"http://127.0.0.1:{port}"
    async with api.kube() as kube:
        with pytest.raises(Unavailable, match="no answer"):
            await kube.get(PODS, "shop", "a")


async def test_a_server_that_hangs_is_given_up() -> None:
    ended = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side hangs up
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        api = ApiServer()
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with api.kube(call_seconds=0.1) as kube:
            with pytest.raises(Unavailable, match="no answer"):
                await kube.get(PODS, "shop", "a")
        await ended.wait()


async def test_every_call_is_counted_with_its_code(api: ApiServer) -> None:
    calls: list[tuple[str, str, int]] = []
    api.put(SHOP_PODS, pod("a"))
    async with api.kube(on_call=lambda verb, plural, status, _seconds: calls.append((verb, plural, status))) as kube:
        await kube.get(PODS, "shop", "a")
        with pytest.raises(NotFound):
            await kube.get(PODS, "shop", "b")
    assert calls == [("get", "pods", 200), ("get", "pods", 404)]


async def test_a_delete_carries_its_preconditions(api: ApiServer, kube: Kube) -> None:
    stored = api.put(SHOP_PODS, pod("a"))
    with pytest.raises(Conflict):
        await kube.delete(PODS, "shop", "a", uid="another", resource_version=stored["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        await kube.delete(PODS, "shop", "a", uid="uid-a", resource_version="1")
    assert "deletionTimestamp" not in stored["metadata"]
    await kube.delete(PODS, "shop", "a", uid="uid-a", resource_version=stored["metadata"]["resourceVersion"])
    assert "deletionTimestamp" in api.collections[SHOP_PODS]["a"]["metadata"]


@pytest.mark.parametrize("code", [410, 500])
async def test_any_error_event_of_a_watch_asks_for_a_new_list(api: ApiServer, kube: Kube, code: int) -> None:
    async def follow() -> None:
        async for _ in kube.watch(PODS, None, "1"):
            api.tell(ALL_PODS, "ERROR", {"code": code, "message": "enough"})

    task = asyncio.create_task(follow())
    await wait_until(lambda: bool(api.watchers))
    api.tell(ALL_PODS, "ADDED", pod("a"))
    with pytest.raises(Expired, match="enough"):
        await task


async def test_without_a_cluster_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("empty") / "none"))
    with pytest.raises(NoAccess, match="KUBECONFIG"):
        await load_access()

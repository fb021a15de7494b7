"""The mirror of the pods against an API server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobworker_operator.kube.client import Kube
from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.spec import Key
from jobworker_operator.observe import reflector
from jobworker_operator.observe.pods import PodStore
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import ALL_PODS, OWNER, pod
from tests.waiting import wait_until

KEY = Key("shop", "mailers")


class Mirror:
    def __init__(self, kube: Kube) -> None:
        self.told: list[tuple[str, PodFacts | None]] = []
        self.store = PodStore(kube, [None], self._changed)

    def _changed(self, _key: Key, uid: str, facts: PodFacts | None) -> None:
        self.told.append((uid, facts))

    @property
    def names(self) -> list[str]:
        return [facts.name for facts in self.store.of(KEY, OWNER)]


@pytest.fixture
async def mirror(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mirror]:
    monkeypatch.setattr(reflector, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(reflector, "_LONGEST_PAUSE", 0.05)
    made = Mirror(kube)
    task = asyncio.create_task(made.store.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def watching(api: ApiServer) -> None:
    await wait_until(lambda: bool(api.watchers), what="the watch is open")


async def test_pods_are_listed_in_pages_and_then_followed(api: ApiServer, mirror: Mirror) -> None:
    api.page_size = 2
    for number in range(5):
        api.put(ALL_PODS, pod(f"p{number}"))
    await mirror.store.wait_synced()
    assert mirror.names == ["p0", "p1", "p2", "p3", "p4"]
    assert api.count("list") >= 3
    await watching(api)
    api.put(ALL_PODS, pod("p5"))
    api.remove(ALL_PODS, "p0")
    await wait_until(lambda: mirror.names == ["p1", "p2", "p3", "p4", "p5"])


async def test_pod_deleted_while_the_version_expired_is_reported_as_gone(api: ApiServer, mirror: Mirror) -> None:
    for name in ("a", "b", "c"):
        api.put(ALL_PODS, pod(name))
    await mirror.store.wait_synced()
    await watching(api)
    mirror.told.clear()
    api.remove(ALL_PODS, "b", tell=False)
    api.put(ALL_PODS, pod("d"), tell=False)
    api.expire_watches()
    await wait_until(lambda: mirror.names == ["a", "c", "d"])
    assert ("uid-b", None) in mirror.told
    assert [uid for uid, facts in mirror.told if facts is not None] == ["uid-d"], "pods that had not changed were told"


async def test_pod_replaced_by_a_namesake_during_a_relist_is_reported_as_gone(api: ApiServer, mirror: Mirror) -> None:
    api.put(ALL_PODS, pod("a"))
    await mirror.store.wait_synced()
    await watching(api)
    namesake = pod("a")
    namesake["metadata"]["uid"] = "uid-second"
    api.remove(ALL_PODS, "a", tell=False)
    api.put(ALL_PODS, namesake, tell=False)
    api.expire_watches()
    await wait_until(lambda: mirror.store.get(KEY, "uid-second") is not None)
    assert ("uid-a", None) in mirror.told
    assert mirror.store.get(KEY, "uid-a") is None


async def test_a_watch_that_the_server_ends_goes_on_without_a_new_list(api: ApiServer, mirror: Mirror) -> None:
    api.put(ALL_PODS, pod("a"))
    await mirror.store.wait_synced()
    await watching(api)
    lists = api.count("list")
    api.end_watches()
    await wait_until(lambda: api.count("watch") >= 2)
    await watching(api)
    api.put(ALL_PODS, pod("b"))
    await wait_until(lambda: mirror.names == ["a", "b"])
    assert api.count("list") == lists
    versions = [int(call.query["resourceVersion"]) for call in api.calls if call.verb == "watch"]
    assert versions == sorted(versions)


async def test_an_api_server_that_fails_is_asked_again_until_it_answers(api: ApiServer, mirror: Mirror) -> None:
    api.refusals += [("list", "pods", 500, "etcd leader changed")] * 3
    api.put(ALL_PODS, pod("a"))
    await wait_until(lambda: mirror.names == ["a"])
    assert mirror.store.synced


async def test_pods_that_no_jobworker_controls_are_passed_over(api: ApiServer, mirror: Mirror) -> None:
    stray = pod("stray")
    del stray["metadata"]["ownerReferences"]
    api.put(ALL_PODS, stray)
    api.put(ALL_PODS, pod("ours"))
    await mirror.store.wait_synced()
    assert mirror.names == ["ours"]
    assert mirror.store.of(KEY, "another-uid") == (), "pods of a deleted namesake were taken for its own"


async def test_a_stream_that_breaks_goes_on_where_it_stood(api: ApiServer, mirror: Mirror) -> None:
    api.put(ALL_PODS, pod("a"))
    await mirror.store.wait_synced()
    await watching(api)
    lists = api.count("list")
    last = api.put(ALL_PODS, pod("b"))["metadata"]["resourceVersion"]
    await wait_until(lambda: mirror.names == ["a", "b"])
    api.refusals.append(("watch", "pods", 503, "shutting down"))
    api.end_watches()
    await wait_until(lambda: api.count("watch") >= 3)
    await watching(api)
    assert api.count("list") == lists
    assert [call.query["resourceVersion"] for call in api.calls if call.verb == "watch"][-1] == last

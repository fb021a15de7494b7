"""The memory of JobWorkers: what wakes a reconcile, and what kopf does not tell."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Unavailable
from jobworker_operator.model.spec import Key
from jobworker_operator.observe.jobworkers import JobWorkerStore
from tests.component.operator.api_server import ApiServer
from tests.component.operator.objects import OWNER, jobworker

KEY = Key("shop", "mailers")
ALL = "/apis/jobworker.dev/v1alpha1/jobworkers"


class Memory:
    def __init__(self, kube: Kube) -> None:
        self.told: list[Key] = []
        self.store = JobWorkerStore(kube, [None], self.told.append)


@pytest.fixture
def memory(kube: Kube) -> Memory:
    return Memory(kube)


def changed(version: int, **metadata: Any) -> dict[str, Any]:
    obj = copy.deepcopy(jobworker())
    obj["metadata"] |= {"resourceVersion": str(version), **metadata}
    return obj


def test_a_status_that_was_written_wakes_nobody_and_is_remembered(memory: Memory) -> None:
    memory.store.put(changed(5))
    memory.told.clear()
    memory.store.put({**changed(6), "status": {"replicas": 2}})
    assert memory.told == []
    known = memory.store.get(KEY)
    assert known is not None
    assert known.status == {"replicas": 2}


@pytest.mark.parametrize(
    "metadata",
    [
        {"generation": 2},
        {"annotations": {"jobworker.dev/restartedAt": "now"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"finalizers": ["example.com/other"]},
    ],
    ids=lambda metadata: next(iter(metadata)),
)
def test_whatever_a_decision_depends_on_wakes_a_reconcile(memory: Memory, metadata: dict[str, Any]) -> None:
    memory.store.put(changed(5))
    memory.told.clear()
    memory.store.put(changed(6, **metadata))
    assert memory.told == [KEY]


def test_an_event_that_is_older_than_the_answer_to_our_patch_is_passed_over(memory: Memory) -> None:
    memory.store.put(changed(5))
    memory.store.put_own({**changed(10), "status": {"replicas": 2}})
    memory.store.put(changed(9))
    known = memory.store.get(KEY)
    assert known is not None
    assert known.status == {"replicas": 2}


def test_the_answer_to_a_patch_does_not_bring_back_what_was_deleted(memory: Memory) -> None:
    memory.store.put(changed(5))
    memory.store.drop(KEY, OWNER)
    memory.store.put_own(changed(6))
    assert memory.store.get(KEY) is None


def test_a_late_deletion_does_not_remove_a_namesake(memory: Memory) -> None:
    memory.store.put(changed(5, uid="second"))
    memory.store.drop(KEY, OWNER)
    assert memory.store.get(KEY) is not None


async def test_a_jobworker_that_vanished_unseen_is_found_out_by_the_next_list(api: ApiServer, memory: Memory) -> None:
    api.put(ALL, jobworker())
    api.put(ALL, jobworker("other"))
    await memory.store.sweep()
    assert sorted(each.key.name for each in memory.store) == ["mailers", "other"]
    memory.told.clear()
    api.remove(ALL, "mailers")
    await memory.store.sweep()
    assert memory.told == [KEY]
    assert memory.store.get(KEY) is None


async def test_a_list_that_fails_forgets_nobody(api: ApiServer, memory: Memory) -> None:
    api.put(ALL, jobworker())
    await memory.store.sweep()
    api.refusals.append(("list", "jobworkers", 500, "etcd leader changed"))
    with pytest.raises(Unavailable):
        await memory.store.sweep()
    assert memory.store.get(KEY) is not None

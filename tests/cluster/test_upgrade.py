"""A new operator finds pods in every state and goes on where the old one was: nothing is made, cut or begun again."""

from __future__ import annotations

import time

import pytest
import redis

from tests.cluster.effects import Effects
from tests.cluster.invariants import Witness
from tests.cluster.platform import OPERATOR_NAMESPACE, Manifest, Shop, pod_template
from tests.waiting import wait_until_sync

BUSY_SECONDS = 45


def uids(pods: list[Manifest]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def replace_operator(shop: Shop) -> None:
    """As `helm upgrade` with another image does: a new pod, and the old one is told to end."""
    kubectl, space = shop.platform.kubectl, ("-n", OPERATOR_NAMESPACE)
    (before,) = shop.platform.list("pods", OPERATOR_NAMESPACE)
    deployment = shop.platform.list("deployments", OPERATOR_NAMESPACE)[0]["metadata"]["name"]
    began = time.monotonic()
    assert kubectl("rollout", "restart", f"deployment/{deployment}", *space).returncode == 0
    done = kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=90s", *space)
    assert done.returncode == 0, done.stderr
    wait_until_sync(
        lambda: uids([before]).isdisjoint(uids(shop.platform.list("pods", OPERATOR_NAMESPACE))),
        60,
        "the old operator's pod is gone",
    )
    print(f"the operator was replaced in {time.monotonic() - began:.1f} s")  # noqa: T201


def test_a_new_operator_goes_on_with_pods_in_every_state(shop: Shop, shop_redis: redis.Redis) -> None:
    effects, kubectl = Effects(shop_redis), shop.platform.kubectl
    unschedulable = pod_template()
    unschedulable["spec"]["nodeSelector"] = {"no.such/node": "here"}
    shop.platform.apply(
        shop.jobworker(replicas=3, worker={"queues": [{"name": "reports"}], "concurrency": 1}),
        shop.jobworker("stuck", replicas=2, template=pod_template("localhost/no-such-image:1")),
        shop.jobworker("pending", replicas=2, template=unschedulable),
        shop.jobworker("leaving", replicas=1, worker={"queues": [{"name": "imports"}], "concurrency": 1}),
    )
    shop.wait_ready()
    shop.wait_ready("leaving")
    # Three busy pods, of which a rollout has told at least one to go; one of a JobWorker that is being deleted.
    for name in ("a", "b", "c"):
        effects.push("LongReport", [name, BUSY_SECONDS], "reports")
    effects.push("LongReport", ["leaving", BUSY_SECONDS], "imports")
    wait_until_sync(lambda: all(effects.started(name) for name in ("a", "b", "c", "leaving")), 30, "four busy pods")
    kubectl("delete", "jw", "leaving", "--wait=false", "-n", shop.namespace)
    newer = pod_template(SHOP_VERSION="2")
    worker = {"queues": [{"name": "reports"}], "concurrency": 1}
    shop.platform.apply(shop.jobworker(replicas=3, worker=worker, template=newer))
    shop.wait_ready()
    wait_until_sync(lambda: len(shop.pods()) == 6, 60, "three new pods beside three that drain")
    wait_until_sync(lambda: all(len(shop.pods(name)) == 2 for name in ("stuck", "pending")), 60, "pods of the others")
    others = {name: uids(shop.pods(name)) for name in ("stuck", "pending")}
    before = uids(shop.pods())

    with Witness(shop, shop_redis) as witness, Witness(shop, shop_redis, "leaving") as leaving:
        replace_operator(shop)
        # Something that only the new one can have done.
        kubectl("scale", "jw/shop", "--replicas=4", "-n", shop.namespace)
        wait_until_sync(lambda: shop.status().get("readyReplicas") == 4, 60, "the new operator scales out")
        assert effects.holders(), "the jobs were over before: the test shows nothing"
        assert before <= uids(shop.pods()), "a pod that drains was cut"
        assert len(uids(shop.pods()) - before) == 1, "more pods were made than were asked for"
        assert {name: uids(shop.pods(name)) for name in others} == others
        wait_until_sync(lambda: not effects.holders(), BUSY_SECONDS + 30, "the reports' end")
        wait_until_sync(lambda: len(shop.pods()) == 4, 60, "the old pods go")
        wait_until_sync(lambda: shop.platform.get("jw", "leaving", shop.namespace) is None, 60, "the deleted one goes")
    assert witness.findings.errors + leaving.findings.errors == []
    assert witness.findings.deleted_while_holding + leaving.findings.deleted_while_holding == []
    assert [effects.report(name) for name in ("a", "b", "c", "leaving")] == [(1, 1)] * 4


@pytest.mark.timeout(240)
def test_a_namespace_with_a_busy_jobworker_goes_by_itself(shop: Shop, shop_redis: redis.Redis) -> None:
    """Its Redis goes with it, and whoever could tell that nobody is busy: then pods that are gone have to do."""
    effects, kubectl = Effects(shop_redis), shop.platform.kubectl
    shop.platform.apply(shop.jobworker(replicas=3))
    shop.wait_ready()
    effects.push("LongReport", ["cut", 120], "reports")
    wait_until_sync(lambda: effects.started("cut"), 30, "a busy pod")
    began = time.monotonic()
    done = kubectl("delete", "namespace", shop.namespace, "--timeout=120s")
    print(f"the namespace went in {time.monotonic() - began:.1f} s")  # noqa: T201
    assert done.returncode == 0, done.stderr
    logs = kubectl("logs", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=jobworker", "--tail=200").stdout
    ours = [line for line in logs.splitlines() if shop.namespace in line]
    assert not [line for line in ours if "is forbidden" in line or "Could not post" in line], "\n".join(ours)


def test_ways_to_delete_that_would_cut_a_job_are_refused_and_orphaned_pods_work_on(
    shop: Shop, shop_redis: redis.Redis
) -> None:
    effects, kubectl = Effects(shop_redis), shop.platform.kubectl
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    effects.push("LongReport", ["long", 20], "reports")
    wait_until_sync(lambda: effects.started("long"), 30, "a busy pod")
    (before,) = shop.pods()
    refused = kubectl("delete", "jw", "shop", "--cascade=foreground", "--timeout=20s", "-n", shop.namespace)
    assert refused.returncode != 0, "the garbage collector may end busy pods"
    assert "--cascade=background" in refused.stderr
    done = kubectl("delete", "jw", "shop", "--cascade=orphan", "--timeout=20s", "-n", shop.namespace)
    assert done.returncode == 0, done.stderr
    wait_until_sync(lambda: effects.report("long") == (1, 1), 40, "the report's end")
    (after,) = shop.pods()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ownerReferences" not in after["metadata"]
    assert "deletionTimestamp" not in after["metadata"]
    shop.platform.kubectl("delete", "pod", after["metadata"]["name"], "--wait=false", "-n", shop.namespace)

"""Bad input is told where its user looks, breaks nothing else and loses nothing. The schema's part is in test_crd."""

from __future__ import annotations

import json

import pytest
import redis

from tests.cluster.conftest import SECRETS_NAMESPACE
from tests.cluster.effects import Effects
from tests.cluster.platform import Shop, pod_template
from tests.waiting import wait_until_sync


def message(shop: Shop, condition: str, status: str) -> str:
    """What a condition says once it has this status."""

    def found() -> str:
        seen = shop.condition(condition)
        return str(seen["message"]) if seen.get("status") == status else ""

    return wait_until_sync(found, 60, f"{condition}={status}")


def test_an_unknown_field_is_refused_by_name(shop: Shop, shop_redis: redis.Redis) -> None:
    wrong = shop.jobworker()
    wrong["spec"]["replica"] = 3
    done = shop.platform.kubectl("apply", "--validate=strict", "-f", "-", input=json.dumps(wrong))
    assert done.returncode != 0
    assert 'unknown field "spec.replica"' in done.stderr


def test_min_above_max_is_refused_with_both_names(shop: Shop, shop_redis: redis.Redis) -> None:
    wrong = shop.jobworker(scaling={"mode": "Auto", "minReplicas": 5, "maxReplicas": 2})
    done = shop.platform.kubectl("apply", "-f", "-", input=json.dumps(wrong))
    assert done.returncode != 0
    assert "minReplicas (5)" in done.stderr
    assert "maxReplicas (2)" in done.stderr


def test_a_redis_that_does_not_answer_is_named_in_the_status(shop: Shop, shop_redis: redis.Redis) -> None:
    shop.platform.apply(shop.jobworker(replicas=1, redis={"url": "redis://:secret@nowhere.invalid:6379/0"}))
    said = message(shop, "Degraded", "True")
    assert "nowhere.invalid" in said
    assert "secret" not in said
    logs = wait_until_sync(lambda: _logs(shop), 60, "a log of the worker")
    assert "nowhere.invalid" in logs
    assert "secret" not in logs


def test_a_secret_that_the_operator_may_not_read_says_which_value_of_the_chart_allows_it(
    shop: Shop, shop_redis: redis.Redis
) -> None:
    reference = {"urlFrom": {"secretKeyRef": {"name": "shop-redis", "key": "url"}}}
    shop.platform.apply(shop.jobworker(replicas=1, redis=reference))
    said = message(shop, "Degraded", "True")
    assert "secretNamespaces" in said
    assert "cannot tell whether it exists" in said


@pytest.mark.namespace(SECRETS_NAMESPACE)
def test_a_missing_secret_is_named_in_the_status(shop: Shop, shop_redis: redis.Redis) -> None:
    reference = {"urlFrom": {"secretKeyRef": {"name": "shop-redis", "key": "url"}}}
    shop.platform.apply(shop.jobworker(replicas=1, redis=reference))
    assert "shop-redis" in message(shop, "Degraded", "True")
    # Made good, it goes on by itself.
    shop.platform.kubectl(
        "create", "secret", "generic", "shop-redis", f"--from-literal=url={shop.redis_url}", "-n", shop.namespace
    )
    shop.wait_ready(seconds=120)


def test_an_image_that_cannot_start_stops_the_rollout_and_leaves_the_old_pods_working(
    shop: Shop, shop_redis: redis.Redis
) -> None:
    shop.platform.apply(shop.jobworker(replicas=2))
    shop.wait_ready()
    before = {pod["metadata"]["uid"] for pod in shop.pods()}
    shop.platform.apply(shop.jobworker(replicas=2, template=pod_template("localhost/no-such-image:dev")))
    said = message(shop, "Degraded", "True")
    assert "ErrImageNeverPull" in said or "ImagePull" in said
    assert "image" in said
    assert {pod["metadata"]["uid"] for pod in shop.pods()} >= before
    effects = Effects(shop_redis)
    effects.push("SendMail", [1], "mails")
    wait_until_sync(effects.mails_sent, 60, "the old pods work")
    shop.platform.apply(shop.jobworker(replicas=2))
    shop.wait_ready()
    wait_until_sync(
        lambda: {pod["metadata"]["uid"] for pod in shop.pods()} == before, 60, "the old pods alone are left"
    )


def test_a_crash_loop_is_told_once_in_the_workers_own_words(shop: Shop, shop_redis: redis.Redis) -> None:
    template = pod_template()
    template["spec"]["containers"][0]["args"] = ["run", "nosuch:app"]
    shop.platform.apply(shop.jobworker(replicas=1, template=template))

    def said() -> str:
        return str(shop.condition("Degraded").get("message", ""))

    wait_until_sync(lambda: "there is no module nosuch" in said(), 90, "the worker's own words")
    wait_until_sync(lambda: "PodsCannotStart" in events(shop), 30, "the Event")

    def restarts() -> int:
        return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in shop.pods())

    # Each restart comes after a pause, of 10 s and more; told anew in each, the trouble would have two Events by now.
    wait_until_sync(lambda: restarts() >= 2, 120, "two restarts")
    wait_until_sync(lambda: shop.pods()[0]["status"]["containerStatuses"][0]["state"].get("waiting"), 60, "a back-off")
    assert events(shop).count("PodsCannotStart") == 1
    assert "Recovered" not in events(shop)
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    wait_until_sync(lambda: "Recovered" in events(shop), 30, "the end of the trouble")


def test_a_container_that_is_no_worker_is_told_before_the_deadline(shop: Shop, shop_redis: redis.Redis) -> None:
    template = pod_template()
    template["spec"]["containers"][0] |= {"command": ["python", "-c", "import time; time.sleep(600)"], "args": []}
    shop.platform.apply(shop.jobworker(replicas=1, template=template))
    wait_until_sync(lambda: shop.condition("Degraded").get("reason") == "NotRegistered", 120, "Degraded=NotRegistered")
    assert "jobworker run" in shop.condition("Degraded")["message"]


def test_a_jobworker_whose_pods_crash_without_redis_can_be_deleted(shop: Shop, shop_redis: redis.Redis) -> None:
    template = pod_template()
    template["spec"]["containers"][0]["args"] = ["run", "shop:app", "--connect-seconds", "1"]
    nowhere = {"url": "redis://nowhere.invalid:6379/0"}
    shop.platform.apply(shop.jobworker(replicas=2, redis=nowhere, template=template))
    wait_until_sync(lambda: "CrashLoopBackOff" in shop.condition("Degraded").get("message", ""), 120, "a crash loop")
    done = shop.platform.kubectl("delete", "jw", "shop", "-n", shop.namespace, "--timeout=120s")
    assert done.returncode == 0, done.stderr
    wait_until_sync(lambda: not shop.pods(), 60, "its pods are gone")


def test_a_deletion_that_waits_without_redis_names_the_command_that_gives_it_up(
    shop: Shop, shop_redis: redis.Redis
) -> None:
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    shop.platform.kubectl("scale", "deployment/redis", "--replicas=0", "-n", shop.namespace)
    wait_until_sync(lambda: shop.condition("Degraded").get("reason") == "RedisUnreachable", 60, "Redis is away")
    shop.platform.kubectl("delete", "jw", "shop", "-n", shop.namespace, "--wait=false")
    wait_until_sync(lambda: shop.condition("Progressing").get("reason") == "DeletionHeld", 30, "the reason")
    command = f"kubectl delete pod -n {shop.namespace} -l jobworker.dev/jobworker=shop"
    assert command in shop.condition("Progressing")["message"]
    assert command in shop.status()["summary"]
    wait_until_sync(lambda: "DeletionHeld" in events(shop), 30, "the Event")
    assert shop.platform.kubectl(*command.split()[1:]).returncode == 0
    wait_until_sync(lambda: shop.platform.get("jw", "shop", shop.namespace) is None, 60, "it goes")


def test_a_class_that_does_not_exist_waits_for_a_retry_and_says_so(shop: Shop, shop_redis: redis.Redis) -> None:
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    Effects(shop_redis).push("NoSuchJob", [1], "mails")
    entry = wait_until_sync(lambda: shop_redis.zrange("retry", 0, -1), 60, "an entry in the retry set")[0]
    assert b"NoSuchJob" in entry
    assert b"SendMail" in entry, "the message names what this application knows"
    assert "NoSuchJob" in _logs(shop)


def test_a_payload_that_is_no_json_lies_in_the_dead_set(shop: Shop, shop_redis: redis.Redis) -> None:
    effects = Effects(shop_redis)
    shop.platform.apply(shop.jobworker(replicas=1))
    shop.wait_ready()
    effects.push_raw(b"this is no json", "mails")
    effects.push("SendMail", [1], "mails")
    wait_until_sync(effects.mails_sent, 60, "the job behind it")
    (entry,) = wait_until_sync(lambda: shop_redis.zrange("dead", 0, -1), 60, "an entry in the dead set")
    assert b"this is no json" in entry
    assert "not JSON" in _logs(shop)


def events(shop: Shop) -> list[str]:
    """Reasons of the Events about JobWorkers of the shop, each as often as it was posted."""
    posted = shop.platform.list("events", shop.namespace)
    ours = [event for event in posted if event["involvedObject"]["kind"] == "JobWorker"]
    return [event["reason"] for event in ours for _ in range(event["count"])]


def _logs(shop: Shop) -> str:
    selector = "jobworker.dev/jobworker=shop"
    return shop.platform.kubectl("logs", "-n", shop.namespace, "-l", selector, "--tail=200").stdout

"""A 200 MB export and an import of its million rows, through rollouts, a drained node and a SIGKILL.

What comes out is compared with what came out when nobody disturbed them, byte by byte and row by row.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import redis

from tests.cluster.conftest import Measured
from tests.cluster.effects import Effects
from tests.cluster.platform import Manifest, Platform, Shop, pod_template
from tests.s3_server import BUCKET, S3Server
from tests.waiting import wait_until_sync

ROWS = 1_000_000
PER_SECOND = 20_000.0
FLUSH_SECONDS = 2.0  # ImportLedger.checkpoint_seconds
BATCH = 100  # its rows of an item
ROLLOUTS = 5
CALM, STORMY = "calm.csv", "stormy.csv"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def s3(platform: Platform, tmp_path: Path) -> Iterator[S3Server]:
    """A server of the S3 API beside the cluster, which its pods reach."""
    address = platform.cluster.host_address
    if address is None:
        pytest.skip("this provider gives pods no address of the machine's")
    with S3Server(tmp_path / "s3", address=address) as server:
        yield server


@pytest.fixture
def second_node(platform: Platform) -> Iterator[str]:
    """A node that can be drained; it goes with the test."""
    name = platform.cluster.add_node()
    yield name
    platform.cluster.kill_node(name)
    platform.kubectl("delete", "node", name, "--wait=false")
    platform.kubectl("delete", "pods", "-A", f"--field-selector=spec.nodeName={name}", "--force", "--grace-period=0")


class Ledger:
    """The two jobs over one object, and what can be seen of them from outside."""

    def __init__(self, shop: Shop, client: redis.Redis, s3: S3Server) -> None:
        self.effects = Effects(client)
        self.shop = shop
        self._redis = client
        self._s3 = s3
        self._jids: dict[str, str] = {}

    def start(self, *, source: str, target: str) -> None:
        """Export to ``target``, and import ``source``, at the same time."""
        self._jids["export"] = self.effects.push("ExportLedger", [target, ROWS, PER_SECOND], "exports")
        self._jids["import"] = self.effects.push("ImportLedger", [source, PER_SECOND], "imports")

    def rows(self, job: str) -> int:
        """How many rows' batches of a job are in a checkpoint."""
        return int(self._redis.hget(f"jw:progress:{self._jids[job]}", "processed") or 0) * BATCH

    def running(self, job: str) -> bool:
        """It is not over: held, or in its queue."""
        waiting = [json.loads(raw)["jid"] for queue in ("exports", "imports") for raw in self._waiting(queue)]
        jid = self._jids[job]
        return jid in waiting or jid in self.effects.holders()

    def holder(self, job: str) -> Manifest:
        """The pod that holds a job."""

        def found() -> Manifest | None:
            holders = {holder.split("/")[0] for holder in self.effects.holders().get(self._jids[job], [])}
            return next((pod for pod in self.shop.pods() if pod["metadata"]["uid"] in holders), None)

        pod = wait_until_sync(found, 60, f"somebody holds the {job}")
        assert pod is not None
        return pod

    def finished(self) -> bool:
        """Both are over."""
        return not self.running("export") and not self.running("import")

    def size_and_digest(self, key: str) -> tuple[int, str]:
        """Of an object."""
        content = self._s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return len(content), hashlib.sha256(content).hexdigest()

    def handled(self, key: str) -> dict[int, int]:
        """How many rows were handled so often: two bits count each."""
        raw = cast("bytes | None", self._redis.get(f"demo:ledger:{key}")) or b""
        found = dict.fromkeys(range(4), 0)
        for number in range(1, ROWS + 1):
            place, shift = number // 4, 6 - 2 * (number % 4)
            found[raw[place] >> shift & 3 if place < len(raw) else 0] += 1
        return found

    def forget(self, key: str) -> None:
        """Count from zero."""
        self._redis.delete(f"demo:ledger:{key}")

    def _waiting(self, queue: str) -> list[bytes]:
        return cast("list[bytes]", self._redis.lrange(f"queue:{queue}", 0, -1))


def uids(shop: Shop) -> set[str]:
    return {pod["metadata"]["uid"] for pod in shop.pods()}


def restart(shop: Shop, name: str) -> None:
    """``kubectl rollout restart``, and wait until no old pod is there."""
    before = uids(shop)
    done = shop.platform.kubectl(
        "annotate", "jw", "shop", "-n", shop.namespace, f"jobworker.dev/restartedAt={name}", "--overwrite"
    )
    assert done.returncode == 0, done.stderr
    wait_until_sync(
        lambda: not before & uids(shop) and len(uids(shop)) == len(before), 120, f"{name}: old pods are gone"
    )
    shop.wait_ready()


def test_export_and_import_come_out_the_same_through_rollouts_a_drained_node_and_a_sigkill(
    shop: Shop, shop_redis: redis.Redis, s3: S3Server, second_node: str, measured: Measured
) -> None:
    ledger = Ledger(shop, shop_redis, s3)
    template = pod_template(**{**s3.environment, "SHOP_BUCKET": BUCKET})  # type: ignore[arg-type]  # variables only
    worker = {"queues": [{"name": "exports"}, {"name": "imports"}], "concurrency": 2}
    shop.platform.apply(shop.jobworker(replicas=2, worker=worker, rollout={"maxSurge": 2}, template=template))
    shop.wait_ready()

    # Undisturbed: the export first as fast as it goes, so that there is something to import.
    ledger.effects.push("ExportLedger", [CALM, ROWS, 1e9], "exports")
    wait_until_sync(lambda: _stored(s3, CALM), 240, "the ledger is written")
    began = time.monotonic()
    ledger.start(source=CALM, target="again.csv")
    wait_until_sync(ledger.finished, 300, "export and import, undisturbed")
    undisturbed = time.monotonic() - began
    size, digest = ledger.size_and_digest(CALM)
    assert size > 200 * ROWS
    assert ledger.size_and_digest("again.csv") == (size, digest)
    assert ledger.handled(CALM) == {0: 0, 1: ROWS, 2: 0, 3: 0}

    ledger.forget(CALM)
    began = time.monotonic()
    ledger.start(source=CALM, target=STORMY)
    for number in range(ROLLOUTS):
        restart(shop, f"rollout-{number}")
        assert ledger.running("export"), f"the export was over after {number} rollouts: the test shows nothing"
        assert ledger.running("import"), f"the import was over after {number} rollouts: the test shows nothing"
    for job in ("export", "import"):
        assert 0 < ledger.rows(job) < ROWS, f"the {job} is not in the middle of its rows"
    drained = shop.platform.kubectl(
        "drain", second_node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"
    )
    assert drained.returncode == 0, drained.stderr
    shop.wait_ready()
    assert not [pod for pod in shop.pods() if pod["spec"].get("nodeName") == second_node]
    # At the same moment, so that neither is given to the pod that is killed next; one pod may hold both.
    victims = {pod["metadata"]["uid"]: pod for pod in map(ledger.holder, ("export", "import"))}
    for pod in victims.values():
        shop.platform.kill_container(pod, "jobworker")
    wait_until_sync(ledger.finished, 300, "export and import, disturbed")
    disturbed = time.monotonic() - began

    handled = ledger.handled(CALM)
    repeated = handled[2] + handled[3]
    measured(
        f"{size / 1e6:.0f} MB exported and {ROWS:,} rows imported in {disturbed:.0f} s through {ROLLOUTS} rollouts, a "
        f"drained node and {len(victims)} SIGKILL, undisturbed in {undisturbed:.0f} s; {repeated:,} rows repeated"
    )
    assert ledger.size_and_digest(STORMY) == (size, digest)
    assert handled[0] == 0, "no row is lost"
    # The import was killed once: what its last checkpoint lacked is repeated. A checkpoint falls due between two items,
    # and on a machine that is busy it takes a while to be written.
    assert handled[2] <= 1.5 * FLUSH_SECONDS * PER_SECOND
    assert handled[3] == 0
    assert shop_redis.zcard("retry") == 0, "no retry was counted"
    assert shop_redis.zcard("dead") == 0


def _stored(s3: S3Server, key: str) -> bool:
    return any(found["Key"] == key for found in s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", []))

"""A client and a worker on a Redis Cluster of three nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobworker import Client, ConfigurationError, ControlAnswer, Standing, SyncClient
from tests.integration.client.conftest import StartWorker
from tests.redis_deployments import RedisCluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]

PREFIX = "{shop}:"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path / "cluster") as nodes:
        yield nodes


async def test_jobs_run_on_a_cluster_also_after_their_slot_has_moved_to_another_node(
    cluster: RedisCluster, start_worker: StartWorker
) -> None:
    worker = start_worker(cluster.url, "-c", "5", "--key-prefix", PREFIX)
    async with Client(cluster.url, PREFIX) as client:
        with SyncClient(cluster.url, PREFIX) as sync_client:
            await client.enqueue_many("mark", [[f"many{n}"] for n in range(20)])
            await client.enqueue("mark", ["one"])
            await client.schedule(0, "mark", ["scheduled"])
            sync_client.enqueue("mark", ["plain"])
            await worker.until_marked({f"many{n}" for n in range(20)} | {"one", "scheduled", "plain"})
            source = cluster.primary_of(PREFIX)
            target = next(node for node in cluster.nodes if node is not source)
            cluster.move(PREFIX, target)
            # No client is told of the move by an error: where the keys are now, the push is asked again.
            await client.enqueue("mark", ["moved"])
            sync_client.enqueue("mark", ["moved plain"])
    await worker.until_marked({"moved", "moved plain"})
    assert set((await worker.marks()).values()) == {1}
    assert await worker.stop() == 0


async def test_running_job_is_paused_resumed_and_cancelled_on_a_cluster(
    cluster: RedisCluster, start_worker: StartWorker
) -> None:
    worker = start_worker(cluster.url, "-c", "5", "--key-prefix", PREFIX)
    async with Client(cluster.url, PREFIX) as client:
        with SyncClient(cluster.url, PREFIX) as sync_client:
            jid = await client.enqueue("Walk")

            async def running() -> bool:
                return (await client.resume(jid)).standing is Standing.RUNNING

            async def resting() -> bool:
                return (await client.pause(jid)).standing is Standing.PAUSED

            await wait_until(running, 30, worker.log_file.read_text())
            await wait_until(resting, 30, worker.log_file.read_text())
            assert sync_client.resume(jid) == ControlAnswer(jid, Standing.PAUSED)
            await wait_until(running, 30, worker.log_file.read_text())
            assert sync_client.cancel(jid).accepted
    await worker.until_marked({"cancelled"})
    assert await worker.stop() == 0


def test_prefix_without_a_hash_tag_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match=r"needs a key prefix with a hash tag.*'\{shop\}:'.* it is 'shop:'"):
        SyncClient("redis+cluster://127.0.0.1:1", "shop:")

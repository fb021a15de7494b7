"""A client and a worker behind Sentinels, whose primary is killed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from redis.exceptions import RedisError

from jobworker import Client, SyncClient
from tests.integration.client.conftest import StartWorker
from tests.redis_deployments import SentinelDeployment
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelDeployment]:
    """One for all tests of this module, since it takes its seconds; it has a primary after the failover too."""
    with SentinelDeployment(tmp_path_factory.mktemp("sentinels")) as deployment:
        yield deployment


def test_plain_code_finds_the_primary_too(sentinels: SentinelDeployment) -> None:
    with SyncClient(sentinels.url) as client:
        assert len(client.enqueue_many("mark", [["a"], ["b"]])) == 2
        assert client.enqueue("mark", ["c"])


def test_unknown_service_is_told_with_what_each_sentinel_said(sentinels: SentinelDeployment) -> None:
    with (
        SyncClient(sentinels.url.replace("/shop/", "/other/")) as client,
        pytest.raises(RedisError, match=r"no Sentinel tells where primary 'other' is: .* does not know it"),
    ):
        client.enqueue("mark", ["a"])


async def test_client_and_worker_go_on_and_no_replicated_job_is_lost_when_the_primary_is_killed(
    sentinels: SentinelDeployment, start_worker: StartWorker
) -> None:
    worker = start_worker(sentinels.url, "-c", "5")
    held, waiting, later = ({f"{kind}{n}" for n in range(20)} for kind in ("held", "waiting", "later"))
    async with Client(sentinels.url) as client:
        await client.enqueue_many("hold", [[name] for name in sorted(held)])
        await client.enqueue_many("mark", [[name] for name in sorted(waiting)])
        await worker.until_begun()
        await wait_until(sentinels.replicated, 20)
        sentinels.primary.kill()
        await worker.effects.set("gate", "open")  # the jobs end while Redis is away

        async def accepted(name: str) -> bool:
            try:
                await client.enqueue("mark", [name])
            except (RedisError, OSError):
                return False
            return True

        for name in sorted(later):
            await wait_until(partial(accepted, name), 40, "a push after the failover")
    await worker.until_marked(held | waiting | later)
    assert await worker.stop() == 0

"""Exports in the runtime itself: deploys in the middle of plain and of async ones, and a death."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobworker import App, Client
from tests.integration.iteration.exports.files import KEY, Rows, rows
from tests.integration.worker.rig import rigged
from tests.s3_server import S3Server
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class AsyncRows(Rows):
    """The same on the event loop."""

    async def row(self, item: int, number: int) -> bytes:  # type: ignore[override]  # another kind of job
        return Rows.row(self, item, number)


def application(kind: type[Rows]) -> tuple[App, type[Rows]]:
    app = App()
    job: type[Rows] = type("Fresh", (kind,), {})
    app.job(name="Export")(job)
    return app, job


async def made(job: type[Rows], number: int) -> None:
    await wait_until(lambda: len(job.made) >= number, 20, f"{number} rows")


@pytest.mark.parametrize("kind", [Rows, AsyncRows])
async def test_export_ends_though_each_worker_is_made_quiet_after_a_row(
    redis: Redis, s3: S3Server, kind: type[Rows]
) -> None:
    app, job = application(kind)
    await Client(redis).enqueue("Export", [5])
    for number in range(5):
        async with rigged(redis, app, worker=f"pod-{number}") as rig:
            job.at = {number: rig.state.be_quiet_here}
            await made(job, number + 1)
            await wait_until(rig.holds_nothing, 20, "the job goes back")
    async with rigged(redis, app, worker="last") as rig:

        async def done() -> bool:
            return await rig.processed() == 1

        await wait_until(done, 20, "the end of the job")
    assert (job.made, job.ended[-1]) == ([0, 1, 2, 3, 4], 5)
    assert s3.read(KEY) == rows(5)
    assert (list(s3.objects()), s3.uploads()) == ([KEY], [])

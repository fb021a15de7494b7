"""A short storm in each run of the tests; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import Checker
from tests.chaos.records import read
from tests.chaos.storm import Size, storm
from tests.chaos.story import tell

pytestmark = pytest.mark.redis


@pytest.mark.timeout(240)  # the storm is short, but afterwards everything must come to rest, on whatever machine
async def test_no_job_is_lost_and_each_repetition_has_a_cause_in_a_short_storm(tmp_path: Path) -> None:
    size = Size(seed=9, seconds=10, holding=5, frail=6, sturdy=2, jobs_per_second=40, redis_every=3)
    async with storm(size, tmp_path) as blown:
        await blown.run()
    records = read(tmp_path)
    verdict = Checker(records).judge()
    stories = [f"{found.what}\n{found.key and tell(records, found.key, blown.began)}" for found in verdict.violations]
    assert not stories, "\n\n".join(stories)
    assert blown.fleet.kills_while_holding >= size.holding, "hardly anybody was killed at work, so little was tested"
    assert sum(count for stroke, count in blown.strokes.items() if "Redis" in stroke) > 0
    assert verdict.acknowledged > 20

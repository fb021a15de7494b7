"""Rounds of the bench of long jobs, small, on a real Redis: its figures come out, and what did not happen has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.iteration.measures.checkpoints import iterations, one_checkpoint
from bench.iteration.measures.memory import memory
from bench.iteration.measures.resume import first_items, handovers, task_at
from bench.iteration.measures.rows import KINDS, ON_SIDEKIQ, rows, task_of
from bench.iteration.rig import SIDEKIQ_QUEUE, Rig
from bench.iteration.sources import Sources
from bench.iteration.variants import Kind, variant
from bench.worker.rig import RoundFailed
from bench.worker.server import Server
from tests.integration.sidekiq.ruby_side import need_sidekiq
from tests.redis_server import RedisServer


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    # The session's server is only asked for so that a machine without Redis skips this as it skips the others.
    with Server(tmp_path / "redis") as server:
        yield Rig(server, tmp_path)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(2_000, tmp_path / "sources")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_checkpoint_is_weighed(rig: Rig, kind: Kind) -> None:
    with rig.worker() as worker:
        one = one_checkpoint(rig, worker, kind, 100)
        each = iterations(rig, worker, "sleep", kind, 20)
    assert one.commands >= 1
    assert one.bytes_in > 100
    assert {told.rows for told in (each.without, each.default, each.often)} == {20}


def test_all_walks_are_timed_beside_their_loops(rig: Rig, sources: Sources) -> None:
    with rig.worker() as worker:
        for kind in KINDS:
            one = rows(rig, worker, None, kind, sources)
            expected = task_of(kind, sources)["rows"]
            assert {told.rows for told in (one.loop, one.plain, one.asynchronous)} == {expected}, kind


def test_sidekiq_walks_over_the_same_and_goes_on_where_it_was(rig: Rig, sources: Sources, tmp_path: Path) -> None:
    need_sidekiq()
    with rig.worker() as worker, rig.sidekiq() as sidekiq:
        one = rows(rig, worker, sidekiq, "csv", sources)
        assert one.sidekiq is not None
        assert one.sidekiq.rows == 2_000
        for kind in ON_SIDEKIQ:
            number = int(rig.place().name.removeprefix("told-"))
            rig.server.client.set(f"cursor:{tmp_path / f'told-{number + 1}'}", 1_500)
            # One that began anew would tell of 1,500 rows more, which makes a round fail.
            task = task_of(kind, sources)
            assert rig.run(sidekiq, "Walk", task, queue=SIDEKIQ_QUEUE).rows == task["rows"]


def test_a_walk_that_missed_rows_has_no_figure(rig: Rig, sources: Sources) -> None:
    task = task_of("json", sources) | {"rows": 2_001}
    with rig.worker() as worker, pytest.raises(RoundFailed, match="2000 of 2001 rows"):
        rig.run(worker, variant("nothing", Kind.PLAIN), task)
    with pytest.raises(RoundFailed, match="2000 of 2001 rows"):
        rig.loop(task)


def test_a_job_that_raised_is_not_waited_for(rig: Rig) -> None:
    with rig.worker() as worker, pytest.raises(RoundFailed, match="there is nothing called 'no such walk'"):
        rig.run(worker, variant("nothing", Kind.PLAIN), {"kind": "no such walk", "place": 1, "rows": 1})


def test_every_walk_goes_on_behind_its_cursor(rig: Rig, sources: Sources) -> None:
    places = {"csv": str(sources.csv()), "json": str(sources.json()), "sql": f"sqlite:///{sources.sqlite()}"}
    took = first_items(rig, [task_at(kind, place, 1_500) for kind, place in places.items()])
    assert len(took) == 3
    assert min(took) > 0


def test_a_walk_that_goes_on_elsewhere_has_no_figure(rig: Rig, sources: Sources) -> None:
    task = task_at("csv", str(sources.csv()), 1_500) | {"expected": 1}
    with pytest.raises(RoundFailed, match="went on at 10001500, not at 1"):
        first_items(rig, [task])


def test_a_handover_is_timed(rig: Rig, tmp_path: Path) -> None:
    took = handovers(rig, Sources(200_000, tmp_path / "sources"), 100_000, 1)
    assert len(took) == 1
    assert took[0] > 0


def test_memory_is_watched(rig: Rig, sources: Sources) -> None:
    found = memory(rig, sources)
    assert min(found.first_mib, found.early_mib, found.last_mib) > 1

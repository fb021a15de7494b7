"""When a worker shows itself to Sidekiq's readers, and how much of what it runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest

from jobworker.protocol import payload as payloads
from jobworker.protocol import processes
from jobworker.protocol.processes import Shown, Work, work_fields
from jobworker.protocol.records import Entry, Number
from jobworker.runtime.life import Life
from jobworker.runtime.running import Running
from jobworker.runtime.sidekiq import SidekiqView
from jobworker.runtime.state import WorkerState


def payload(**fields: Any) -> bytes:
    return orjson.dumps({"class": "Job", "args": [1], "jid": "0123", "queue": "default", **fields})


def work(number: int, raw: bytes, run_at: float = 1_000.0) -> Work:
    return Work(number, "default", raw, payloads.parse(raw), run_at)


def shown_of(fields: tuple[tuple[str, bytes], ...]) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in fields]


def test_work_is_the_raw_payload_with_whole_seconds() -> None:
    raw = payload(tags=["ä"])
    assert work_fields([work(7, raw, 1_000.9)]) == (("7", orjson.dumps({
        "queue": "default", "payload": raw.decode(), "run_at": 1_000,
    })),)  # fmt: skip


def test_only_the_longest_running_jobs_are_shown() -> None:
    fields = work_fields([work(number, payload(), 5_000.0 - number) for number in range(1_000)])
    assert len(fields) == 200
    assert {number for number, _ in fields} == {str(number) for number in range(800, 1_000)}


@pytest.mark.parametrize("large", [{"args": ["x" * 10_000]}, {"cattr": {"x": "x" * 10_000}}])
def test_large_payloads_are_shown_without_their_arguments(large: dict[str, Any]) -> None:
    raw = payload(**large)
    (job,) = shown_of(work_fields([work(1, raw)]))
    assert json.loads(job["payload"]) == {
        "class": "Job", "jid": "0123", "queue": "default", "retry": True, "args": [f"({len(raw)} bytes, not shown)"],
    }  # fmt: skip


@pytest.mark.parametrize(("levels", "as_it_is"), [(97, True), (98, True), (99, False), (500, False)])
@pytest.mark.parametrize("place", ["args", "cattr"])
def test_payloads_deeper_than_ruby_reads_are_shown_without_their_arguments(
    levels: int, place: str, *, as_it_is: bool
) -> None:
    """Two levels are the payload and its arguments; Ruby's JSON.parse reads a hundred."""
    inner = b"[" * levels + b"]" * levels
    raw = payload(**{place: ["HERE"]}).replace(b'"HERE"', inner)
    (job,) = shown_of(work_fields([work(1, raw)]))
    assert (job["payload"].encode() == raw) is as_it_is


def test_brackets_in_strings_are_no_levels() -> None:
    raw = payload(args=["[" * 500])
    (job,) = shown_of(work_fields([work(1, raw)]))
    assert job["payload"].encode() == raw


def test_strict_order_is_shown_as_sidekiq_shows_it() -> None:
    name = processes.identity("host", 12)
    told = json.loads(
        processes.info(
            name,
            started_at=1.5,
            tag="t",
            labels=[],
            concurrency=3,
            weights={"b": 5, "a": 1},
            mode="strict",
            version="1",
        )
    )
    assert (told["hostname"], told["pid"], told["identity"]) == ("host", 12, name)
    assert told["queues"] == ["b", "a"], "in the order in which they are asked"
    assert told["weights"] == [{"b": 0, "a": 0}]
    assert told["capsules"] == {"default": {"concurrency": 3, "mode": "strict", "weights": {"b": 0, "a": 0}}}
    assert told["embedded"] is False, "else Sidekiq's API would refuse to quiet it"


@dataclass
class Someone:
    """As much of a life as is shown of it."""

    process: str = "host:1:abc"
    process_info: bytes = b"{}"
    concurrency: int = 5

    def rss_kb(self) -> int:
        return 1


@dataclass
class Stage:
    """A view with a clock and jobs in the test's hands."""

    now: float = 100.0
    jobs: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = WorkerState()
        self.view = SidekiqView(cast("Life", Someone()), self.state, lambda: self.jobs, lambda: self.now)

    def run(self, number: int, *, began: float | None = 90.0) -> Running:
        run = Running.__new__(Running)
        run.entry = Entry(Number(number), "default", 0, payload())
        run.payload = payloads.parse(run.entry.payload)
        run.disowned = False
        cast("Any", run).began = began
        self.jobs.append(run)
        return run

    def beat(self, *, after: float = 0.0) -> Shown | None:
        self.now += after
        shown = self.view.due()
        self.view.told(shown, self.now)
        return shown


@pytest.fixture
async def stage() -> Stage:
    await asyncio.sleep(0)
    return Stage()


async def test_idle_worker_is_shown_every_twenty_seconds_and_a_busy_one_every_five(stage: Stage) -> None:
    assert stage.beat() is not None
    assert [second for second in range(1, 46) if stage.beat(after=1.0)] == [20, 40]
    stage.run(1)
    assert [second for second in range(1, 13) if stage.beat(after=1.0)] == [1, 6, 11]


async def test_quiet_and_its_end_are_shown_at_the_next_beat(stage: Stage) -> None:
    stage.beat()
    stage.state.hear("operator: Rollout")
    assert stage.beat(after=1.0) == Shown("host:1:abc", b"{}", busy=0, quiet=True, rss_kb=1, rtt_us=0, concurrency=5)
    assert stage.beat(after=1.0) is None
    stage.state.hear(None)
    shown = stage.beat(after=1.0)
    assert shown is not None
    assert not shown.quiet


async def test_work_is_taken_away_only_after_some_was_shown(stage: Stage) -> None:
    first = stage.beat()
    assert first is not None
    assert first.had_work, "another life of this process may have shown some"
    stage.run(1)
    with_work = stage.beat(after=1.0)
    assert with_work is not None
    assert (with_work.busy, len(with_work.work), with_work.had_work) == (1, 1, False)
    stage.jobs.clear()
    without = stage.beat(after=1.0)
    assert without is not None
    assert (without.busy, without.work, without.had_work) == (0, (), True)
    later = stage.beat(after=20.0)
    assert later is not None
    assert not later.had_work


async def test_jobs_of_others_and_jobs_that_wait_for_a_slot_are_not_shown(stage: Stage) -> None:
    stage.run(1).disowned = True
    stage.run(2, began=None)
    stage.run(3)
    shown = stage.beat()
    assert shown is not None
    assert (shown.busy, [number for number, _ in shown.work]) == (1, ["3"])


async def test_beat_without_an_answer_is_shown_again(stage: Stage) -> None:
    stage.beat()
    assert stage.view.due() is None
    stage.view.forget()
    assert stage.view.due() is not None

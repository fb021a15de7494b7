"""What the last line says, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Callable

from bench.worker.contestants import named
from bench.worker.measures.drain import Drained
from bench.worker.measures.idle import Idle
from bench.worker.results import Results
from bench.worker.summary import summary

PROMISED = {
    "drain_vs_bullmq",
    "drain_vs_sidekiq",
    "drain_vs_best_python",
    "threads_vs_bullmq",
    "commands_per_job",
    "enqueue_vs_floor",
    "bulk_per_s",
    "start_p50_vs_best_peer",
    "start_p99_vs_best_peer",
    "start_foreign_p99_ms",
    "idle_commands_per_s",
    "idle_rss_mib",
}


def of(*names: str) -> Results:
    return Results(contestants=[named(name) for name in names])


def test_every_promised_figure_is_there_and_null_when_nothing_was_measured() -> None:
    figures = json.loads(json.dumps(summary(Results())))
    assert figures.keys() >= PROMISED
    assert {figures[name] for name in PROMISED} == {None}


def test_the_best_python_peer_is_the_fastest_by_the_median_of_its_rounds(drained: Callable[..., Drained]) -> None:
    results = of("jobworker", "bullmq", "taskiq-stream", "huey")
    results.drain = {
        "jobworker": [drained(1000), drained(1000), drained(1000)],
        "bullmq": [drained(250), drained(200), drained(250)],
        "taskiq-stream": [drained(900), drained(20), drained(25)],  # fast once
        "huey": [drained(50), drained(50), drained(50)],
    }
    figures = summary(results)
    assert figures["best_python"] == "huey"
    assert figures["drain_vs_best_python"] == 20
    # huey loses what a worker that dies has taken.
    assert figures["best_reliable_python"] == "taskiq-stream"
    assert figures["drain_vs_best_reliable_python"] == 40
    assert figures["drain_vs_bullmq"] == 4
    assert figures["drain_vs_sidekiq"] is None


def test_a_failed_round_of_a_peer_is_left_out_on_both_sides(drained: Callable[..., Drained]) -> None:
    results = of("jobworker", "jobworker-threads", "bullmq")
    results.drain = {
        "jobworker": [drained(100), drained(400)],
        "jobworker-threads": [drained(600), drained(500)],
        "bullmq": [None, drained(100)],
    }
    results.failed = ["drain, round 1, BullMQ (node): 3 jobs did not run, 0 are not acknowledged"]
    figures = summary(results)
    assert figures["drain_vs_bullmq"] == 4
    assert figures["threads_vs_bullmq"] == 5
    assert figures["failed_rounds"] == 1


def test_what_a_job_costs_is_compared_by_cpu_too(drained: Callable[..., Drained]) -> None:
    results = of("jobworker", "bullmq")
    results.drain = {"jobworker": [drained(100, cpu_us=8, commands=0.05)], "bullmq": [drained(90, cpu_us=40)]}
    figures = summary(results)
    assert figures["cpu_vs_bullmq"] == 5
    assert figures["commands_per_job"] == 0.05
    assert figures["bulk_per_s"] == 1000
    assert figures["others_cpu_percent"] == 12.5


def test_latency_is_compared_to_the_best_peer_of_each_percentile() -> None:
    results = of("jobworker", "jobworker-threads", "sidekiq", "huey")
    results.start = {
        "jobworker": [0.3] * 98 + [0.9] * 2,
        "jobworker-threads": [0.1] * 100,  # ours is no peer
        "sidekiq": [0.6] * 98 + [1.0] * 2,
        "huey": [0.5] * 98 + [1.8] * 2,
    }
    results.foreign = [50.0] * 98 + [200.0] * 2
    figures = summary(results)
    assert figures["start_p50_vs_best_peer"] == 0.6
    assert figures["start_p99_vs_best_peer"] == 0.9
    assert figures["start_foreign_p99_ms"] == 200


def test_idle_cost_and_enqueue_are_medians() -> None:
    results = of("jobworker")
    results.idle = {"jobworker": [Idle(2.0, 39.0, 0.1), None, Idle(1.0, 37.0, 0.3)]}
    results.floor = [0.9, 0.8, 0.85]
    figures = summary(results)
    assert (figures["idle_commands_per_s"], figures["idle_rss_mib"], figures["idle_cpu_percent"]) == (1.5, 38, 0.2)
    assert figures["enqueue_vs_floor"] == 0.85
    assert figures["failed_rounds"] == 0


def test_who_is_missing_is_named() -> None:
    results = of("jobworker")
    results.missing = {"Sidekiq 6.4, hiredis": "needs Debian's ruby-sidekiq"}
    assert summary(results)["missing"] == "Sidekiq 6.4, hiredis"

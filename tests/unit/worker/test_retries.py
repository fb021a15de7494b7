from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobworker.jobs.definition import DISCARD, KILL, Options
from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Outcome
from jobworker.runtime import retries
from jobworker.runtime.retries import Verdict


def job(*, retry: bool | int = True, **extra: object) -> Payload:
    return Payload("Import", [1], payloads.JobId("0" * 24), retry=retry, extra=extra)


def no_jitter(_: int) -> int:
    return 0


@pytest.mark.parametrize(("count", "seconds"), [(0, 15), (1, 16), (2, 31), (10, 10_015), (24, 331_791)])
def test_delay_follows_sidekiqs_curve(count: int, seconds: int) -> None:
    assert retries.delay_seconds(count, no_jitter) == seconds


def test_jitter_grows_with_the_count() -> None:
    assert retries.delay_seconds(4, lambda bound: bound - 1) == 256 + 15 + 49


def test_25_tries_take_sidekiqs_three_weeks() -> None:
    assert sum(retries.delay_seconds(count, no_jitter) for count in range(25)) == 1_763_395


def test_first_failure_sets_failed_at_and_count_0() -> None:
    verdict = retries.decide(job(), ValueError("no"), 1000.5, chance=no_jitter)
    assert (verdict.outcome, verdict.score) == (Outcome.RETRY, 1015.5)
    assert verdict.payload.extra == {
        "error_class": "ValueError",
        "error_message": "no",
        "retry_count": 0,
        "failed_at": 1000.5,
    }


def test_later_failure_sets_retried_at_and_keeps_failed_at() -> None:
    verdict = retries.decide(job(retry_count=3, failed_at=1.0), ValueError("no"), 1000.5, chance=no_jitter)
    assert verdict.payload.extra["retry_count"] == 4
    assert (verdict.payload.extra["failed_at"], verdict.payload.extra["retried_at"]) == (1.0, 1000.5)


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        pytest.param(job(retry=False), Outcome.FAILED, id="no retry is not kept"),
        pytest.param(job(retry=0), Outcome.DEAD, id="zero tries go to the dead set"),
        pytest.param(job(retry=2, retry_count=0), Outcome.RETRY, id="second of two"),
        pytest.param(job(retry=2, retry_count=1), Outcome.DEAD, id="two are used up"),
        pytest.param(job(retry_count=23), Outcome.RETRY, id="the twenty-fifth"),
        pytest.param(job(retry_count=24), Outcome.DEAD, id="25 are used up"),
        pytest.param(job(retry=0, dead=False), Outcome.FAILED, id="dead: false is not kept"),
        pytest.param(
            job(retry_for=10, failed_at=980.0, retry_count=0), Outcome.DEAD, id="its time to be retried is over"
        ),
        pytest.param(job(retry_for=30, failed_at=980.0, retry_count=90), Outcome.RETRY, id="its time is not over"),
    ],
)
def test_what_becomes_of_a_failed_job(payload: Payload, outcome: Outcome) -> None:
    assert retries.decide(payload, ValueError("no"), 1000.0, chance=no_jitter).outcome is outcome


def test_retry_queue_is_where_the_retry_goes() -> None:
    assert retries.decide(job(retry_queue="slow"), ValueError("no"), 0.0, chance=no_jitter).payload.queue == "slow"


# ── the job's own rules ──────────────────────────────────────────────────────
def decide(payload: Payload, error: BaseException | None = None, now: float = 1000.0, **options: Any) -> Verdict:
    return retries.decide(payload, error or ValueError("no"), now, Options(**options), no_jitter)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(7, 7), (0, 0), (2.5, 2.5), (timedelta(minutes=1), 60), (None, 15)],
    ids=["whole", "at once", "fraction", "timedelta", "the curve"],
)
def test_retry_in_sets_the_delay(answer: Any, seconds: float) -> None:
    verdict = decide(job(), retry_in=lambda *_: answer)
    assert (verdict.outcome, verdict.delay_seconds, verdict.score) == (Outcome.RETRY, seconds, 1000 + seconds)


def test_retry_in_is_told_count_error_and_job_and_gets_sidekiqs_jitter() -> None:
    heard: list[tuple[int, str, list[int]]] = []

    def retry_in(count: int, error: BaseException, failed: Payload) -> int:
        heard.append((count, str(error), list(failed.args)))
        return 100

    options = Options(retry_in=retry_in)
    verdict = retries.decide(job(retry_count=2), ValueError("no"), 0.0, options, lambda bound: bound - 1)
    assert heard == [(3, "no", [1])]
    assert verdict.delay_seconds == 100 + 39


@pytest.mark.parametrize(
    ("options", "payload", "outcome"),
    [
        pytest.param({"retry_in": lambda *_: KILL}, job(), Outcome.DEAD, id="kill"),
        pytest.param({"retry_in": lambda *_: KILL}, job(dead=False), Outcome.FAILED, id="kill what is not kept"),
        pytest.param({"retry_in": lambda *_: DISCARD}, job(), Outcome.FAILED, id="discard"),
        pytest.param({"retry_in": lambda *_: 5}, job(retry=0), Outcome.DEAD, id="not asked once exhausted"),
        pytest.param({"discard_on": ValueError}, job(), Outcome.FAILED, id="discard on this error"),
        pytest.param({"discard_on": (KeyError,)}, job(), Outcome.RETRY, id="not on another one"),
        pytest.param({"kill_on": (KeyError, ValueError)}, job(), Outcome.DEAD, id="kill on one of these errors"),
        pytest.param({"dead": False}, job(retry=0), Outcome.FAILED, id="definition says dead: false"),
        pytest.param({"dead": False}, job(retry=0, dead=True), Outcome.DEAD, id="the payload wins"),
        pytest.param(
            {"retry_for": 10}, job(failed_at=980.0, retry_count=0), Outcome.DEAD, id="definition's time is over"
        ),
    ],
)
def test_rules_of_the_job_decide(options: dict[str, Any], payload: Payload, outcome: Outcome) -> None:
    assert decide(payload, **options).outcome is outcome


def raising(*_: object) -> float:
    raise RuntimeError("a mistake in a rule")


@pytest.mark.parametrize("rule", [raising, lambda *_: "soon", lambda *_: -1, lambda *_: float("nan"), lambda *_: True])
def test_rule_that_cannot_be_followed_is_told_and_the_curve_used(
    rule: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    verdict = decide(job(), retry_in=rule)
    assert (verdict.outcome, verdict.delay_seconds) == (Outcome.RETRY, 15)
    assert "Sidekiq's default" in caplog.text


@pytest.mark.parametrize("first", [990.0, 990_000], ids=["seconds of Sidekiq 7", "milliseconds of Sidekiq 8"])
def test_time_to_be_retried_counts_from_the_first_failure_in_either_format(first: float) -> None:
    assert decide(job(retry_for=11, failed_at=first, retry_count=0)).outcome is Outcome.RETRY
    assert decide(job(retry_for=9, failed_at=first, retry_count=0)).outcome is Outcome.DEAD


def test_backtrace_is_written_as_sidekiq_reads_it() -> None:
    def deep() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        deep()
    error = caught.value
    written = decide(job(backtrace=True), error).payload.extra["error_backtrace"]
    lines = json.loads(zlib.decompress(base64.b64decode(written, validate=True)))
    assert [line.rsplit(":", 1)[1] for line in lines] == [
        "in 'deep'",
        "in 'test_backtrace_is_written_as_sidekiq_reads_it'",
    ]
    short = decide(job(), error, backtrace=1).payload.extra["error_backtrace"]
    assert json.loads(zlib.decompress(base64.b64decode(short))) == lines[:1]
    assert "error_backtrace" not in decide(job(), error).payload.extra


def test_a_dead_job_lies_in_its_retry_queue_too() -> None:
    verdict = retries.decide(job(retry=0, retry_queue="slow"), ValueError("no"), 0.0, chance=no_jitter)
    assert (verdict.outcome, verdict.payload.queue) == (Outcome.DEAD, "slow")

from __future__ import annotations

import pytest

from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Outcome
from jobworker.runtime import retries


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
    verdict = retries.decide(job(), ValueError("no"), 1000.5, no_jitter)
    assert (verdict.outcome, verdict.score) == (Outcome.RETRY, 1015.5)
    assert verdict.payload.extra == {
        "error_class": "ValueError",
        "error_message": "no",
        "retry_count": 0,
        "failed_at": 1000.5,
    }


def test_later_failure_sets_retried_at_and_keeps_failed_at() -> None:
    verdict = retries.decide(job(retry_count=3, failed_at=1.0), ValueError("no"), 1000.5, no_jitter)
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
    assert retries.decide(payload, ValueError("no"), 1000.0, no_jitter).outcome is outcome


def test_retry_queue_is_where_the_retry_goes() -> None:
    assert retries.decide(job(retry_queue="slow"), ValueError("no"), 0.0, no_jitter).payload.queue == "slow"

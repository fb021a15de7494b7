"""RQ with its SimpleWorker, which does not fork for each job."""

from __future__ import annotations

from effects import plain_work as work
from producing import URL, produce
from redis import Redis
from rq import Queue

_AT_ONCE = 1000
_NAME = "rq_jobs.work"


def _one(number: int) -> None:
    queue.enqueue(_NAME, number, result_ttl=0)


def _bulk(numbers: range) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        chunk = numbers[start : start + _AT_ONCE]
        queue.enqueue_many([Queue.prepare_data(_NAME, (number,), result_ttl=0) for number in chunk])


if __name__ == "__main__":
    queue = Queue("bench", connection=Redis.from_url(URL))
    produce(_one, _bulk)

__all__ = ["work"]

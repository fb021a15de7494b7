"""Celery on Redis: acknowledged after the job, no results."""

from __future__ import annotations

from celery import Celery
from effects import plain_work
from producing import URL, produce

app = Celery("bench", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=100,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
work = app.task(name="work")(plain_work)

if __name__ == "__main__":
    produce(work.delay)

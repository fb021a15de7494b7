"""The job that nobody can interrupt: a deploy has to wait for it, or it begins again from the start."""

from __future__ import annotations

import time

from jobworker import context
from shop import effects
from shop.application import VERSION, app


@app.job(queue="reports", name="LongReport")
def long_report(report: str, seconds: float) -> None:
    """Works ``seconds`` on a report. One that was cut shows as started 2, finished 1."""
    key = effects.report_key(report)
    context().logger.info("report begins", extra={"version": VERSION, "report": report, "seconds": seconds})
    with effects.redis().pipeline(transaction=True) as pipeline:
        pipeline.hincrby(key, "started", 1)
        pipeline.hset(key, "version", VERSION)
        pipeline.execute()
    time.sleep(seconds)
    effects.redis().hincrby(key, "finished", 1)
    context().logger.info("report is done", extra={"version": VERSION, "report": report})

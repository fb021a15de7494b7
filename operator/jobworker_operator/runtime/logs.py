"""Logs: one event a line, as text or JSON, with the JobWorker and the reconcile that it belongs to."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

import orjson

LogFormat = Literal["text", "json"]

current_key: ContextVar[str] = ContextVar("current_key", default="")
current_reconcile: ContextVar[str] = ContextVar("current_reconcile", default="")


def configure_logging(log_format: LogFormat, *, verbose: bool) -> None:
    """Log to standard error. ``verbose`` shows what is decided in each reconcile."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("jobworker_operator").setLevel(logging.DEBUG if verbose else logging.INFO)
    # kopf tells of every handler that it calls, and it calls one for every event; its warnings are ours too.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    if not verbose:
        handler.addFilter(_without_kopf_tracebacks)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _without_kopf_tracebacks(record: logging.LogRecord) -> bool:
    # A lost watch passes through four of its tasks, and each would log the same traceback of fifty lines.
    if record.name.startswith("kopf"):
        record.exc_info = None
    return True


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        where = " ".join(part for part in (current_key.get(), current_reconcile.get()) if part)
        text = f"{_time(record)} {record.levelname:<7} {f'[{where}] ' if where else ''}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if key := current_key.get():
            line["jobworker"] = key
        if reconcile := current_reconcile.get():
            line["reconcile"] = reconcile
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()

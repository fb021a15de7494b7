"""Background jobs on Redis that survive deploys."""

import jobworker.starting  # noqa: F401  # isort: skip  # before all that takes its time
from jobworker.app import App, Job
from jobworker.client.asynchronous import Client
from jobworker.client.middleware import NOT_PUSHED, OutgoingJob
from jobworker.client.synchronous import SyncClient
from jobworker.errors import (
    ArgumentsNotJSON,
    ConfigurationError,
    CursorMismatch,
    JobTimeout,
    JobworkerError,
    MalformedItem,
    MalformedPayload,
    NotHeld,
    PushBufferFull,
    StaleEpoch,
    StorageError,
    UnknownJob,
)
from jobworker.iteration.enumerators import (
    csv_rows,
    in_batches,
    json_lines,
    list_items,
    nested,
    number_range,
    pages,
    redis_scan,
    sql_ranges,
    sql_records,
    throttled,
)
from jobworker.iteration.enumerators.splitting import split_csv
from jobworker.iteration.enumerators.sql import split_sql
from jobworker.iteration.exports import CsvFile, ExportingJob, JsonLinesFile, RawFile, S3Bucket, S3Object, unchanged
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.parallel import ParallelJob, split_range
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.jobs.context import Context, context
from jobworker.jobs.definition import DISCARD, KILL
from jobworker.jobs.fetcher import Fetcher, UnitOfWork
from jobworker.protocol.control import ControlAnswer, Standing
from jobworker.protocol.deaths import DeadJob, DeadSet
from jobworker.protocol.job_states import JobState
from jobworker.protocol.payload import Payload
from jobworker.protocol.progress import JobProgress

__all__ = [
    "DISCARD",
    "KILL",
    "NOT_PUSHED",
    "App",
    "ArgumentsNotJSON",
    "Client",
    "ConfigurationError",
    "Context",
    "ControlAnswer",
    "CsvFile",
    "CursorMismatch",
    "DeadJob",
    "DeadSet",
    "ExportingJob",
    "Fetcher",
    "IteratingJob",
    "Job",
    "JobProgress",
    "JobState",
    "JobTimeout",
    "JobworkerError",
    "JsonLinesFile",
    "MalformedItem",
    "MalformedPayload",
    "NotHeld",
    "OutgoingJob",
    "ParallelJob",
    "Payload",
    "PushBufferFull",
    "RawFile",
    "S3Bucket",
    "S3Object",
    "SqlCheckpoints",
    "StaleEpoch",
    "Standing",
    "StorageError",
    "SyncClient",
    "UnitOfWork",
    "UnknownJob",
    "context",
    "csv_rows",
    "in_batches",
    "json_lines",
    "list_items",
    "nested",
    "number_range",
    "pages",
    "redis_scan",
    "split_csv",
    "split_range",
    "split_sql",
    "sql_ranges",
    "sql_records",
    "throttled",
    "unchanged",
]

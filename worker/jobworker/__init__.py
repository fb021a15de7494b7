"""Background jobs on Redis that survive deploys."""

from jobworker.app import App, Job
from jobworker.client.asynchronous import Client
from jobworker.client.synchronous import SyncClient
from jobworker.errors import (
    ArgumentsNotJSON,
    ConfigurationError,
    JobworkerError,
    MalformedPayload,
    NotHeld,
    StaleEpoch,
    UnknownJob,
)
from jobworker.iteration.enumerators import csv_rows, list_items
from jobworker.iteration.job import IteratingJob
from jobworker.jobs.context import Context, context

__all__ = [
    "App",
    "ArgumentsNotJSON",
    "Client",
    "ConfigurationError",
    "Context",
    "IteratingJob",
    "Job",
    "JobworkerError",
    "MalformedPayload",
    "NotHeld",
    "StaleEpoch",
    "SyncClient",
    "UnknownJob",
    "context",
    "csv_rows",
    "list_items",
]

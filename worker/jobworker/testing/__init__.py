"""Test the jobs of an application without a Redis: what they enqueue, what they do, and that they bear a deploy.

Everything here is for tests; a worker or a producer imports none of it.
"""

from jobworker.testing.assertions import EnqueuedJobs, JobLike
from jobworker.testing.capture import Jobs, capture, inline
from jobworker.testing.client import MemoryClient, MemorySyncClient
from jobworker.testing.clock import FakeClock
from jobworker.testing.drain import SimulatedDrain, simulate_drain, simulate_drain_sync
from jobworker.testing.keeper import MemoryKeeper, Places
from jobworker.testing.memory import EnqueuedJob, Memory
from jobworker.testing.promises import Promise, at_least_once, same

__all__ = [
    "EnqueuedJob",
    "EnqueuedJobs",
    "FakeClock",
    "JobLike",
    "Jobs",
    "Memory",
    "MemoryClient",
    "MemoryKeeper",
    "MemorySyncClient",
    "Places",
    "Promise",
    "SimulatedDrain",
    "at_least_once",
    "capture",
    "inline",
    "same",
    "simulate_drain",
    "simulate_drain_sync",
]

"""Test the jobs of an application without a Redis: what they enqueue, what they do, and that they bear a deploy.

Everything here is for tests; a worker or a producer imports none of it.
"""

from jobworker.testing.clock import FakeClock
from jobworker.testing.drain import SimulatedDrain, simulate_drain, simulate_drain_sync
from jobworker.testing.keeper import MemoryKeeper, Places
from jobworker.testing.promises import Promise, at_least_once, same

__all__ = [
    "FakeClock",
    "MemoryKeeper",
    "Places",
    "Promise",
    "SimulatedDrain",
    "at_least_once",
    "same",
    "simulate_drain",
    "simulate_drain_sync",
]

"""Pure functions from an Observation to a Plan. No I/O, no clock: time comes in with the Observation."""

from jobworker_operator.plan.planner import plan

__all__ = ["plan"]

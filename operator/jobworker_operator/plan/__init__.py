"""Pure functions from an Observation to a Plan. No I/O, no clock: time comes in with the Observation."""

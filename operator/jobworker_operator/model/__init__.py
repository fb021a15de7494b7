"""Frozen values that the operator thinks in: specs, facts, observations, actions, plans. No I/O, no clock."""

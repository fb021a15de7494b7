"""The worker and its peers side by side in one run, on a Redis of the run's own.

`contestants` says who takes part and with which commands, `measures` what is done with them, `figures` and `report`
are what is made of it. ``peers`` holds the programs that run in the contestants' own environments.
"""

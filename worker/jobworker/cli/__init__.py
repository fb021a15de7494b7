"""The command line: `jobworker run`, `enqueue`, `progress`, `check`."""

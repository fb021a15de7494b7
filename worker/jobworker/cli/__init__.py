"""The command line: the program `jobworker`, a module for each of its commands."""

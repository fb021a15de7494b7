"""`python -m jobworker.cli` is the program `jobworker`."""

from jobworker.cli.main import main

main()

"""`python -m tests.cluster.tool`."""

from tests.cluster.tool.cli import main

if __name__ == "__main__":
    main()

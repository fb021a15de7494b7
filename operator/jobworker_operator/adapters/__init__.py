"""One module for each kind of worker: how to quiet it and how to see whether it is busy."""

"""`make demo`: a cluster, an import of a real table, a new version in the middle of it, a burst, and the numbers."""

"""Benchmarks: what this project costs and how fast it is, next to others. Each package is one command."""

"""What it costs to be able to stop after any item: checkpoints, rows a second, going on at row ten million, memory.

`programs` run in processes of their own, the worker's jobs among them; `measures` start them and return samples. What
is not about iteration (the Redis of the run, processes, tables) is that of `bench.worker`.
"""

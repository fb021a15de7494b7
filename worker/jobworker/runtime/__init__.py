"""The worker process: takes jobs, runs them, acknowledges them, and leaves without losing one."""

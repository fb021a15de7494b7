"""JobWorkers to apply, jobs to run, and the demo that does both."""

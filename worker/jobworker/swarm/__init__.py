"""Several processes in one pod: a parent that forks, one that speaks for the pod, and those that run jobs."""

"""The shell: kopf, reflectors, the keyed work queue, health and metrics wired together."""

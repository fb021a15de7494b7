"""Programs that are started by the measures. All run in this repository's own environment, from its top."""

"""Do it: pods, status, events, quiet and retire, each with its precondition."""

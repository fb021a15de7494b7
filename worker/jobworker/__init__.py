"""Background jobs on Redis that survive deploys."""

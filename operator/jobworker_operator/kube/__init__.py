"""A thin client of the Kubernetes API for hot paths: raw JSON in, raw JSON out."""

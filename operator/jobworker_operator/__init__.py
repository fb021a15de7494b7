"""Kubernetes operator that restarts and resizes job workers without killing a busy one."""

"""Puts jobs into Redis: now, later, one or many; from asyncio and from plain code."""

"""What worker and operator say to each other through Redis: keys, payloads, records and atomic scripts.

The only part of the worker that the operator imports. No policy: who is quieted and when is the operator's
decision, what runs and when is the worker's.
"""

"""Effects that are there exactly once: the checkpoint of an iterating job in the transaction of its effects.

`checkpoints` is what an application names, and the only one that is imported without SQLAlchemy. `table` and `store`
are what lies in the database, `faults` tells which of its errors pass, `work` is what happens around an item, in
`seats` a run sits, and `redo` carries what Redis has not been told.
"""

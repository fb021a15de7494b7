"""SIGKILLs over iterating jobs: imports in the user's own SQL transaction, an import without, an export.

`__main__` is `make kill-iterations`. `arena` forks workers and kills them, `jobs` is their application, `tripwire`
kills at a chosen instruction, `checker` looks at the effects, and `stage` starts the servers in which they lie.
"""

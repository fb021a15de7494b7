"""A storm over a whole worker fleet by seed, and a checker that explains every job that ran twice.

``plan`` says what happens when, ``storm`` does it, ``fleet`` keeps the workers, ``nursery`` starts processes in
milliseconds, ``records`` is the second store, and ``checker`` judges what it says: it is pure.
"""

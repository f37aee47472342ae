"""Parity: the same seeded inputs through every backend, and how far apart the outcomes are.

`inputs` makes what goes in, `cases` names what is run on it (`primitives`, `parts`, `methods`), `runs` runs it on one
backend, `comparison` holds two runs against each other, `dumps` keeps a run for another machine, `picture` runs a user's own
picture, `table`, `page` and `chart` show what came out. The command is `scripts/parity.py`.
"""

"""Parity: the same seeded inputs through every backend, and how far apart the outcomes are.

`cases` holds what is run: its `inputs`, and the cases of `primitives`, `decisions` and `methods`, which its `catalogue` names.
`runs` runs them on one backend, `comparison` holds two runs against each other, `dumps` keeps a run for another machine,
`own_picture` runs a user's own picture, `report` shows what came out. The command is `core.commands.parity`.
"""

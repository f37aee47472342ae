"""Jittor: the primitives of `core` mirrored. Importing this package prepares Jittor's surroundings and imports it as `jt`."""

from jt_backend.runtime import import_jittor

jt = import_jittor()

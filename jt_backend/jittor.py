"""Jittor, imported here and nowhere else: made ready for this machine, its numbers exact in float64."""

from jt_backend.numbers import make_numbers_exact
from jt_backend.start.runtime import import_jittor

jt = import_jittor()
make_numbers_exact(jt)

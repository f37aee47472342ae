"""Between which values an option may lie: wide enough for any experiment, narrow enough that float32 holds what comes of it."""

from itertools import pairwise
from typing import Any, NamedTuple

from core.notes import one_line


class Limit(NamedTuple):
    """The least and the largest value of a number, or of each number of several, which may not descend.

    above: the least itself is left out. layer: it is a block of the image tower, counted from 0, before the last.
    """

    low: float
    high: float
    above: bool = False
    layer: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a value, or all of several, lie within."""
        values = value if isinstance(value, tuple | list) else (value,)
        inside = all(self.low <= x <= self.high and not (self.above and x == self.low) for x in values)
        return inside and all(a <= b for a, b in pairwise(values))

    def __str__(self) -> str:
        high = f"{self.high:,}"
        return f"above {self.low} and at most {high}" if self.above else f"{self.low} to {high}"


def said(value: Any) -> str:
    """A value as an error says it: in one line, and not all of a long one."""
    try:
        return one_line(repr(value), 60)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"


SHARE = Limit(0, 1)
COSINE = Limit(-1, 1)
FACTOR = Limit(0, 1000)
COUNT = Limit(1, 1_000_000)
PATCHES = Limit(0, 1_000_000, above=True)
CONTRAST = Limit(0, 1_000_000, above=True)
MEANS = Limit(-100, 100)
SHARPNESS = Limit(0, 80)
"""Of FSA: float32 ends at e to the 88."""
LAYER = Limit(0, 1000, layer=True)

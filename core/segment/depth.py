"""Values of more than 8 bits: which range of theirs becomes 0..255.

Files of 16 bits often hold the 10, 12 or 14 bits of a sensor. Scaled as if they were 16 these pictures would be black.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.files.depth import FULL, Depth, Range, whole_colours
from core.notes import note

if TYPE_CHECKING:
    from PIL import Image

DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16)
"""Bits that values are taken to have where nothing says so: the fewest of these that hold them."""

NEARLY_BLACK = 16
"""The brightest of a picture's values, of 255, up to which it is called so."""

ROWS = 256  # scaled at a time


def to_8_bits(image: "Image.Image", depth: Depth, name: str) -> "Image.Image":
    """An upright image whose values fit 8 bits: itself, or one scaled by the range that its file states or its values need.

    Says a note, with `name`, where the values decide, and where what the file states leaves nearly nothing to be seen.

    Raises InputError for numbers whose range nobody knows: those below 0 or above 65535, and floats.
    """
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        return Image.fromarray(_scaled(values, _range(values, depth.stated, name), name))
    if not depth.deep:
        return image
    brightest = max(high for _, high in _bands(image)[:3])
    known = FULL in depth.stated[:1] or (not depth.stated and brightest > 1 << DEPTHS[-2] - 8)
    if depth.content is None or known:
        _tell_dark(brightest, name)
        return image
    values = whole_colours(depth.content)
    colours, alpha = values[..., :3], values[..., 3:]
    chosen = _range(colours, depth.stated, name)
    if chosen == FULL:
        _tell_dark(brightest, name)
        return image
    scaled = _scaled(colours, chosen, name)
    if alpha.size:
        scaled = np.dstack([scaled, _apply(alpha, _fewest_bits(alpha.max()))])
    return Image.fromarray(scaled)


def _range(values: np.ndarray, stated: Sequence[Range], name: str) -> Range:
    """The range of the values: the first stated one that holds them all, else one of `DEPTHS`, and a note says so."""
    lowest, highest = values.min(), values.max()
    for low, high in stated:
        if low <= lowest and highest <= high:
            return low, high
    if values.dtype.kind == "f":
        raise InputError(f"cannot read {name}: its pixels are floats of unknown range; save it with 8 bits")
    if lowest < 0 or highest > FULL[1]:
        reason = f"its pixels are numbers from {lowest} to {highest}, of unknown range"
        raise InputError(f"cannot read {name}: {reason}; save it with 8 bits")
    chosen = _fewest_bits(highest)
    if stated:
        states = f"its file states the range {stated[0][0]:g} to {stated[0][1]:g}, but its values reach {highest}"
        note(f"{name}: {states}; 0 to {chosen[1]} became 0 to 255")
    elif chosen != FULL and highest:
        reach = f"its values reach {highest} and nothing states their range"
        note(f"{name}: {reach}; they were taken for {chosen[1].bit_length()} bits, and 0 to {chosen[1]} became 0 to 255")
    return chosen


def _fewest_bits(highest: int) -> tuple[int, int]:
    return 0, (1 << next(bits for bits in DEPTHS if highest < 1 << bits)) - 1


def _scaled(values: np.ndarray, chosen: Range, name: str) -> np.ndarray:
    scaled = _apply(values, chosen)
    _tell_dark(int(scaled.max()), name)
    return scaled


def _apply(values: np.ndarray, chosen: Range) -> np.ndarray:
    """Values (H, W, ...) within a range, scaled to uint8, a strip at a time."""
    low, high = chosen
    scaled = np.empty(values.shape, np.uint8)
    for row in range(0, len(values), ROWS):
        strip = values[row : row + ROWS]
        scaled[row : row + ROWS] = np.rint((strip - np.float32(low)) / np.float32((high - low) / 255))
    return scaled


def _tell_dark(brightest: int, name: str) -> None:
    if brightest <= NEARLY_BLACK:
        note(f"{name}: it has more than 8 bits, and scaled to 8 its brightest value is {brightest} of 255: nearly black")


def _bands(image: "Image.Image") -> Sequence[tuple[int, int]]:
    extrema = image.getextrema()
    return extrema if isinstance(extrema[0], tuple) else (extrema,)

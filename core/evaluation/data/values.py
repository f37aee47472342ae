"""Label pictures as they lie on disk, read and written: values, of which nobody has said yet which classes they are."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.files.pictures import open_picture
from core.files.writing import atomic_path
from core.notes import one_line

if TYPE_CHECKING:
    from PIL import Image

INDEX_MODES = ("P", "L", "I;16", "I;16B", "I")  # Pillow's modes of one channel of whole numbers


class WrongLabelsError(InputError):
    """A label picture that is readable, and not of the kind that the data set has."""


def read_label(path: Path) -> np.ndarray:
    """(H, W) integers as they lie on disk: the indices of a palette picture, or the values of its one channel, 8 or 16 bit.

    Raises InputError for a file that cannot be read, WrongLabelsError for one of colours in place of indices.
    """
    try:
        with open_picture(path) as image:
            mode, values = image.mode, np.array(image)
    except InputError as error:
        raise InputError(f"cannot read the label {str(error).removeprefix('cannot read ')}") from None
    if mode not in INDEX_MODES:
        says = f"{path} is a picture of mode {mode}, not one of class indices (palette, or one grey channel)"
        raise WrongLabelsError(one_line(says))
    return values


def write_label(path: Path, values: np.ndarray, palette: bytes | None = None, text: dict[str, str] | None = None) -> None:
    """Write (H, W) uint8 as a grey PNG, or with a palette of R, G, B...; whole or not at all. text: kept in it, by key.

    Raises InputError when it cannot be written.
    """
    from PIL import Image

    picture = Image.fromarray(values)
    if palette is not None:
        picture.putpalette(palette)
    write_picture(path, picture, text)


def write_picture(path: Path, picture: "Image.Image", text: dict[str, str] | None = None) -> None:
    """Write a PNG, whole or not at all, with texts in it by key. Raises InputError when it cannot be written."""
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    for key, value in (text or {}).items():
        told.add_text(key, value)
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary, format="PNG", pnginfo=told)
    except OSError as error:
        raise InputError(one_line(f"cannot write {path}: {error.strerror or error}")) from None

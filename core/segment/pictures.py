"""Reading pictures: a path, a Pillow image or an array in, an (H, W, 3) uint8 RGB array out."""

import os
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.files.depth import look_at_depth
from core.files.pictures import check_format, open_picture, plain_errors
from core.notes import one_line
from core.segment.depth import to_8_bits

if TYPE_CHECKING:
    from PIL import Image


def read_picture(source: "str | os.PathLike | Image.Image | np.ndarray") -> np.ndarray:
    """Read a picture as a new (H, W, 3) uint8 RGB array, upright.

    source: the path of a file of one of `core.files.pictures.FORMATS`, a Pillow image, or an (H, W, 3) uint8 RGB array.

    The EXIF orientation is applied. Transparent parts are laid on white. Grey, palette and CMYK pictures become RGB. Of an
    animated file the first frame counts. Colour profiles are ignored, as in CLIP's own loading.

    Values of more than 8 bits are scaled by the range that the file states (TIFF's SMinSampleValue, SMaxSampleValue and
    BitsPerSample, PNG's sBIT, Netpbm's maxval), else by the fewest of 1, 2, 4, 8, 10, 12, 14 and 16 bits that hold them, 65535
    to 255 for 16. A note on the error stream says where the values decided for less than 16, and where a picture is nearly
    black by what its file states.

    Raises InputError for a file that is missing, not a regular file, empty, truncated, not a picture of these formats, or
    larger than Pillow's limit against decompression bombs or than memory; for 32-bit pictures whose range nobody knows; for
    arrays of another kind.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _check_array(source).copy()
    if isinstance(source, Image.Image):
        with plain_errors("the picture"):
            check_format(source, "the picture")
            return _decode(source, "the picture")
    if isinstance(source, str | os.PathLike):
        with open_picture(source) as image:
            return _decode(image, one_line(os.fspath(source)))
    kind = type(source).__name__
    raise InputError(f"a picture must be a path, a Pillow image or an (H, W, 3) uint8 array, not {kind}")


def _check_array(array: np.ndarray) -> np.ndarray:
    """The array itself, when it is (H, W, 3) uint8 and not empty."""
    if array.ndim == 3 and array.shape[2] == 3 and array.size and array.dtype == np.uint8:
        return array
    if array.ndim == 2:
        advice = "a grey one needs np.stack([a, a, a], axis=-1)"
    elif array.ndim == 3 and array.shape[2] == 4:
        advice = "leave the alpha channel out"
    elif array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        advice = "move the channels to the last axis"
    elif array.size and array.dtype != np.uint8:
        advice = "scale the values to 0..255 and use astype(np.uint8)"
    else:
        advice = "H and W must be at least 1"
    raise InputError(f"a picture array must be (H, W, 3) uint8, not {array.shape} {array.dtype}: {advice}")


def _decode(image: "Image.Image", name: str) -> np.ndarray:
    """Decode a Pillow image, of which only the header may have been read, into (H, W, 3) uint8."""
    from PIL import Image, ImageOps

    depth = look_at_depth(image)
    image = to_8_bits(ImageOps.exif_transpose(image), depth, name)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _check_array(np.array(image.convert("RGB")))

"""Reading pictures: a path, a Pillow image or an array in, an (H, W, 3) uint8 RGB array out."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


_warnings_lock = threading.Lock()  # Python's warning filters belong to the process, not to a thread


def read_picture(source: "str | os.PathLike | Image.Image | np.ndarray") -> np.ndarray:
    """Read a picture as a new (H, W, 3) uint8 RGB array, upright.

    source: the path of any file that Pillow reads, a Pillow image, or an (H, W, 3) uint8 RGB array.

    The EXIF orientation is applied. Transparent parts are laid on white. Grey, palette and CMYK pictures become RGB;
    16-bit grey is scaled, 65535 to 255 (Pillow alone would clip it). Of an animated file the first frame counts.
    Colour profiles are ignored, as in CLIP's own loading.

    Raises InputError for a file that is missing, a folder, empty, truncated, not a picture, or larger than Pillow's
    limit against decompression bombs; for 32-bit pictures, whose range nobody knows; for arrays of another kind.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _check_array(source).copy()
    if isinstance(source, Image.Image):
        with _plain_errors("the picture"):
            return _decode(source, "the picture")
    if isinstance(source, str | os.PathLike):
        return _read_file(os.fspath(source))
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


def _read_file(path: str) -> np.ndarray:
    """Read a picture file; every way in which it can be bad raises InputError with its path."""
    from PIL import Image

    if not os.path.exists(path):
        raise InputError(f"cannot read {path}: there is no such file")
    if not os.path.isfile(path):
        raise InputError(f"cannot read {path}: it is a folder or a device, not a picture file")
    if os.path.getsize(path) == 0:
        raise InputError(f"cannot read {path}: the file is empty (zero bytes)")
    with _plain_errors(path), Image.open(path) as image:
        return _decode(image, path)


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises for a bad picture into an InputError with its name; silence its warnings."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow only warns up to twice its limit, and raises above; here the limit is the limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InputError(f"cannot read {name}: it is not a picture of a kind that Pillow reads") from None
    except PermissionError:
        raise InputError(f"cannot read {name}: permission denied") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise InputError(f"cannot read {name}: it has more pixels than the limit of {limit}; make it smaller") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise many kinds, SyntaxError among them
        if "truncated" in str(error).lower():
            reason = "the file is truncated; copy or download it again"
        else:
            reason = "the file is damaged or cut short, or of a kind that Pillow cannot decode"
        raise InputError(f"cannot read {name}: {reason}") from error


def _decode(image: "Image.Image", name: str) -> np.ndarray:
    """Decode a Pillow image, of which only the header may have been read, into (H, W, 3) uint8."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return _scale_16_bit(np.asarray(image), name)
    if image.mode == "F":
        raise InputError(f"cannot read {name}: its pixels are floats of unknown range; save it with 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _check_array(np.array(image.convert("RGB")))


def _scale_16_bit(grey: np.ndarray, name: str) -> np.ndarray:
    """Scale (H, W) 16-bit grey values (in any integer type: older Pillows use 32 bits) to (H, W, 3) uint8."""
    if grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"cannot read {name}: its pixels are 32-bit numbers of unknown range; save it with 8 bits")
    scaled = np.rint(grey / np.float32(257)).astype(np.uint8)
    return np.repeat(scaled[:, :, np.newaxis], 3, axis=2)

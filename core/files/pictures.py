"""Opening picture files: which kinds are read, and the one line that is said of every other file."""

import ctypes
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from core.errors import InputError
from core.files.reading import open_file
from core.notes import one_line

if TYPE_CHECKING:
    from PIL import Image

COMMON = ("PNG", "JPEG", "GIF", "BMP", "PPM")
FORMATS = (*COMMON, "TIFF", "WEBP", "AVIF", "JPEG2000", "MPO", "ICO", "CUR", "ICNS", "DIB", "TGA", "PCX", "PSD", "SGI", "SUN",
           "QOI", "DDS", "FITS", "XBM", "XPM", "MSP", "IM", "FLI", "PIXAR", "SPIDER", "BLP", "FTEX", "GBR", "IMT", "MCIDAS",
           "PCD", "XVTHUMB")  # fmt: skip
"""What is read, by content, whatever a file is called: what Pillow decodes by itself."""

HANDED_ON = ("EPS", "WMF", "IPTC", "BUFR", "GRIB", "HDF5")
"""What Pillow hands on: to Ghostscript, to Windows, to whatever reader fits an inner file, to a handler that was registered."""

LIMIT = 1 << 32
"""Bytes of a picture file."""

_warnings_lock = threading.RLock()  # Python's warning filters belong to the process, not to a thread


@contextmanager
def open_picture(path: str | os.PathLike) -> "Iterator[Image.Image]":
    """A picture file as a Pillow image of which only the header has been read.

    Raises InputError, while the block runs too, for whatever is wrong with the file.
    """
    name = one_line(os.fspath(path))
    if not os.path.exists(path):
        raise InputError(f"cannot read {name}: there is no such file")
    with open_file(path, LIMIT) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise InputError(f"cannot read {name}: the file is empty (zero bytes)")
        with plain_errors(name), _identify(file, name) as image:
            _check_whole(image, file, name)
            yield image


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises for a bad picture into an InputError with its name; silences all that it says beside."""
    from PIL import Image

    try:
        _silence()
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow only warns up to twice its limit, and raises above; here the limit is the limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"cannot read {name}: there is not enough memory for its pixels; make the picture smaller") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise InputError(f"cannot read {name}: it has more pixels than the limit of {limit}; make it smaller") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise many kinds, SyntaxError among them
        if "truncated" in str(error).lower():
            reason = "the file is truncated; copy or download it again"
        else:
            reason = "the file is damaged or cut short, or of a kind that Pillow cannot decode"
        raise InputError(f"cannot read {name}: {reason}") from error


def check_format(image: "Image.Image", name: str) -> None:
    """Raises InputError for an image in hand whose file Pillow would hand to another program or reader."""
    from PIL import ImageFile

    if isinstance(image, ImageFile.ImageFile) and image.format in HANDED_ON:
        raise InputError(f"cannot read {name}: files of the kind {image.format} are not read; hand over image.convert('RGB')")


def _identify(file: BinaryIO, name: str) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    with suppress(UnidentifiedImageError):
        return Image.open(file, formats=COMMON)
    Image.init()
    with suppress(UnidentifiedImageError):
        return Image.open(file, formats=[kind for kind in Image.ID if kind in FORMATS])
    file.seek(0)
    start = file.read(16)
    for kind in Image.ID:
        if kind not in FORMATS and _looks_like(kind, start):
            raise InputError(f"cannot read {name}: {kind} is a kind of file that is not read; save it as PNG or JPEG")
    raise InputError(f"cannot read {name}: it is not a picture of a kind that is read, or its beginning is damaged")


def _looks_like(kind: str, start: bytes) -> bool:
    from PIL import Image

    accept = Image.OPEN[kind][1]
    with suppress(Exception):
        return accept is not None and accept(start) is True
    return False


def _check_whole(image: "Image.Image", file: BinaryIO, name: str) -> None:
    """Raises InputError for a file cut where its decoder would not notice."""
    place = file.tell()
    lacks = END_MARKS.get(image.format, lambda *_: None)(image, file)
    file.seek(place)
    if lacks:
        raise InputError(f"cannot read {name}: the file is truncated, as {lacks}; copy or download it again")


def _fits_end(image: "Image.Image", file: BinaryIO) -> str | None:
    return "it does not end with a whole block of 2880 bytes" if file.seek(0, os.SEEK_END) % 2880 else None


def _plain_end(image: "Image.Image", file: BinaryIO) -> str | None:
    # A number at the very end may have lost digits. Netpbm wants white space behind each, the last one too.
    if image.tile[0][0] != "ppm_plain" or image.mode == "1":
        return None
    last = _bytes_at(file, file.seek(0, os.SEEK_END) - 1)
    return None if last.isspace() else "no white space follows its last number"


def _pcx_end(image: "Image.Image", file: BinaryIO) -> str | None:
    # Pillow takes a picture whose palette is missing for a grey one, which the header would say.
    content = _bytes_at(file, 0)
    bits, planes, grey = content[3], content[65], content[68] == 2
    if (bits, planes) != (8, 1) or grey:
        return None
    left, place = int.from_bytes(content[66:68], "little") * image.height, 128
    while left > 0 and place < len(content):  # a byte of 0xC0 or more says how often the next one stands
        repeated = content[place] >= 0xC0
        left -= content[place] & 0x3F if repeated else 1
        place += 1 + repeated
    return "its palette is missing" if len(content) - place < 769 else None


def _jpeg2000_end(image: "Image.Image", file: BinaryIO) -> str | None:
    content = _bytes_at(file, 0)
    return None if content.find(b"\xff\xd9", content.find(b"\xff\x4f\xff\x51")) > 0 else "its end mark is missing"


def _bytes_at(file: BinaryIO, place: int, n: int = -1) -> bytes:
    file.seek(place)
    return file.read(n)


END_MARKS = {"FITS": _fits_end, "PPM": _plain_end, "PCX": _pcx_end, "JPEG2000": _jpeg2000_end}
"""For formats whose decoders take some cut files for whole ones: what the file lacks, or None."""


@cache
def _silence() -> None:
    """Keeps away what Pillow logs of damaged files and what its libtiff writes to descriptor 2; Pillow raises for them too.

    The descriptor itself is left alone, as it is every thread's. Where libtiff is built into Pillow, its lines stay.
    """
    from PIL import Image

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any, Python prints errors; a user's own still hears
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(Image.core.__file__)  # through which its own libtiff is found
        for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)

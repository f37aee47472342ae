"""What a picture file says of values beyond 8 bits, and colours of 16 bits whole, of which Pillow keeps the upper 8 alone."""

import re
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Range = tuple[float, float]

FULL: Range = (0, 65535)
TIFF_BITS, TIFF_LOWEST, TIFF_HIGHEST = 258, 340, 341  # BitsPerSample, SMinSampleValue, SMaxSampleValue


@dataclass(frozen=True)
class Depth:
    """What a file says of its values, asked before Pillow decodes them.

    deep: Pillow decodes them to 8 bits, but the file has more. stated: ranges by the file's word, the first of which that holds
    all values is theirs; none where it does not say. content: the file, when `whole_colours` can read it.
    """

    deep: bool = False
    stated: Sequence[Range] = ()
    content: bytes | None = None


def look_at_depth(image: "Image.Image") -> Depth:
    """The depth of an image that Pillow has opened but not decoded; of one in memory nothing is known."""
    file, tiles = getattr(image, "fp", None), getattr(image, "tile", None)
    if not (file and tiles and image.format in READERS):
        return Depth()
    place = file.tell()
    depth = READERS[image.format](image, file)
    file.seek(place)
    return depth if image.tell() == 0 else replace(depth, content=None)  # opened again, it would be the first frame


def whole_colours(content: bytes) -> np.ndarray:
    """(H, W, 3 or 4) uint16 RGB or RGBA of a PNG, TIFF or PPM file with 16 bits a colour, upright."""
    upper = _open(content)
    if upper.format == "PPM":
        return _netpbm_values(upper, content)
    lower, rawmode = _open(content), _rawmode(upper)
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    # Pillow's unpackers take the upper of each two bytes: those of the other byte order take the lower.
    swapped = "RGBA" if rawmode.startswith("LA") else rawmode[:-1] + other[rawmode[-1]]
    lower.tile = [_with_rawmode(tile, swapped) for tile in lower.tile]
    if rawmode.startswith("LA"):
        grey_and_alpha = _upright(lower).view(">u2").astype(np.uint16)
        return grey_and_alpha[..., [0, 0, 0, 1]]
    return _upright(upper).astype(np.uint16) << 8 | _upright(lower)


def _png(image: "Image.Image", file: BinaryIO) -> Depth:
    if ";16" not in _rawmode(image):
        return Depth()
    content = _content(file)
    colour = not image.mode.startswith("I")
    bits = 16
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"sBIT":
            grey = image.mode.startswith(("I", "LA")) or _rawmode(image).startswith("LA")
            bits = max(content[place + 8 : place + 8 + min(length, 1 if grey else 3)], default=16)
        if kind == b"IDAT":
            break
        place += length + 12
    # By the standard such values are scaled up to 16 bits; many writers leave them as they are.
    stated = ((0, 2**bits - 1), FULL) if 0 < bits < 16 else ()
    return Depth(colour, stated, content if colour else None)


def _tiff(image: "Image.Image", file: BinaryIO) -> Depth:
    colour = re.fullmatch("(RGBX?|RGBA);16[BLN]", _rawmode(image)) is not None
    if not (colour or image.mode == "F" or image.mode.startswith("I")):
        return Depth(";16" in _rawmode(image) and image.mode in ("L", "RGB", "RGBA"))
    bits, lowest, highest = (_numbers(image.tag_v2.get(tag)) for tag in (TIFF_BITS, TIFF_LOWEST, TIFF_HIGHEST))
    stated: Sequence[Range] = ()
    if highest and max(highest) > min(lowest, default=0):
        stated = ((min(lowest, default=0), max(highest)),)
    elif bits and 8 < max(bits) < 16:
        stated = ((0, 2 ** max(bits) - 1),)
    return Depth(colour, stated, _content(file) if colour else None)


def _netpbm(image: "Image.Image", file: BinaryIO) -> Depth:
    codec, _, _, arguments = image.tile[0]
    if codec not in ("ppm", "ppm_plain") or isinstance(arguments, str) or arguments[1] <= 255:
        return Depth()
    colour = image.mode == "RGB"
    if arguments[1] != FULL[1]:
        return Depth(colour, (FULL,))  # to which Pillow scales them
    return Depth(colour, (), _content(file) if colour else None)


def _jpeg2000(image: "Image.Image", file: BinaryIO) -> Depth:
    content = _content(file)
    place = content.find(b"\xff\x4f\xff\x51") + 42  # where the first component's bits stand
    bits = (content[place] & 0x7F) + 1 if place < len(content) else 8
    if bits <= 8:
        return Depth()
    return Depth(not image.mode.startswith("I"), (FULL,) if bits != 16 else ())  # to which Pillow scales them


def _sgi(image: "Image.Image", file: BinaryIO) -> Depth:
    return Depth(image.tile[0][0] == "SGI16" or ";16" in _rawmode(image))


READERS = {"PNG": _png, "TIFF": _tiff, "PPM": _netpbm, "JPEG2000": _jpeg2000, "SGI": _sgi}


def _netpbm_values(image: "Image.Image", content: bytes) -> np.ndarray:
    width, height = image.size
    codec, _, place, _ = image.tile[0]
    n = width * height * 3
    if codec == "ppm":
        values = np.frombuffer(content, ">u2", n, place).astype(np.uint16)
    else:
        numbers = re.sub(rb"#[^\r\n]*", b"", content[place:]).split(maxsplit=n)[:n]
        values = np.array([int(number) for number in numbers], dtype=np.uint16)
    return values.reshape(height, width, 3)


def _open(content: bytes) -> "Image.Image":
    from PIL import Image

    return Image.open(BytesIO(content), formats=list(READERS))


def _upright(image: "Image.Image") -> np.ndarray:
    from PIL import ImageOps

    return np.array(ImageOps.exif_transpose(image))


def _rawmode(image: "Image.Image") -> str:
    arguments = image.tile[0][3]
    first = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    return first if isinstance(first, str) else ""


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    """A tile, a named tuple since Pillow 11, decoded otherwise."""
    codec, extents, offset, arguments = tile
    changed = rawmode if isinstance(arguments, str) else (rawmode, *arguments[1:])
    return tuple.__new__(type(tile), (codec, extents, offset, changed))


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _numbers(value: Any) -> list[float]:
    """A tag's finite numbers, however many it has."""
    values = value if isinstance(value, tuple) else (value,)
    numbers = [float(number) for number in values if isinstance(number, int | float) or hasattr(number, "numerator")]
    return [number for number in numbers if np.isfinite(number)]

"""Picture files that Pillow does not write, and one of each kind that is read."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, features


def saved(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_16(values, significant=None) -> bytes:
    """A 16-bit PNG of (H, W) grey or (H, W, 2, 3 or 4) values; significant: the bits in its sBIT chunk."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    stated = b"" if significant is None else chunk(b"sBIT", bytes([significant] * channels))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + stated + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values, order="<", bits=None, packed=None, **tags) -> bytes:
    """An uncompressed TIFF of (H, W) or (H, W, C) values of an integer or float type.

    bits: of a sample where they are not the type's own, with the bytes in `packed`. tags: such as t340=(3, 7), a tag's number
    with its type (3 short, 4 long, 9 signed long, 11 float) and value.
    """
    values = np.asarray(values)
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = bits or values.dtype.itemsize * 8
    data = packed or values.astype(values.dtype.newbyteorder(order)).tobytes()
    entries = {
        256: (4, width), 257: (4, height), 258: (3, bits) if samples == 1 else (3, *[bits] * samples), 259: (3, 1),
        262: (3, 1 if samples == 1 else 2), 273: (4, 0), 277: (3, samples), 278: (4, height), 279: (4, len(data)),
        339: (3, kind) if samples == 1 else (3, *[kind] * samples),
    }  # fmt: skip
    if samples == 4:
        entries[338] = (3, 2)
    entries |= {int(name[1:]): value for name, value in tags.items()}
    letters = {3: "H", 4: "I", 8: "h", 9: "i", 11: "f"}
    start = 8 + 2 + 12 * len(entries) + 4
    behind, table = b"", b""
    data_at = start + 64 * len(entries)
    for number, (form, *items) in sorted(entries.items()):
        items = [data_at] if number == 273 else items
        content = struct.pack(f"{order}{len(items)}{letters[form]}", *items)
        if len(content) > 4:
            place = struct.pack(f"{order}I", start + len(behind))
            behind += content
        else:
            place = content.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", number, form, len(items)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries)) + table + b"\0" * 4
    return (head + behind).ljust(data_at, b"\0") + data


def fits(values) -> bytes:
    """A FITS file of (H, W) uint8 or uint16 values."""
    height, width = values.shape
    cards = [f"{name:8}= {value:>20}" for name, value in [
        ("SIMPLE", "T"), ("BITPIX", 8 * values.itemsize), ("NAXIS", 2), ("NAXIS1", width), ("NAXIS2", height),
    ]]  # fmt: skip
    header = "".join(card.ljust(80) for card in [*cards, "END"]).encode()
    data = values[::-1].astype(values.dtype.newbyteorder(">")).tobytes()  # the lowest row first
    return header.ljust(2880) + data + b"\0" * (-len(data) % 2880)


def plain_netpbm(values, maxval=255) -> bytes:
    """A plain PGM of (H, W) or PPM of (H, W, 3) values."""
    kind = "P2" if values.ndim == 2 else "P3"
    rows = "\n".join(" ".join(map(str, row.ravel())) for row in values)
    return f"{kind}\n# by hand\n{values.shape[1]} {values.shape[0]}\n{maxval}\n{rows}\n".encode()


def one_of_each_kind(height=13, width=17) -> dict[str, bytes]:
    """A file of each kind that Pillow writes or this module does, of the same noise."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    colour, grey = Image.fromarray(noise), Image.fromarray(noise[..., 0])
    kinds = ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "ICO", "DIB", "TGA", "PCX", "SGI", "DDS", "IM"]
    for kind, feature in (("AVIF", "avif"), ("JPEG2000", "jpg_2000")):
        kinds += [kind] if features.check(feature) else []
    files = {kind: saved(colour, kind) for kind in kinds}
    files |= {f"TIFF {way}": saved(colour, "TIFF", compression=way) for way in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")}
    files |= {f"{kind} palette": saved(colour.convert("P"), kind) for kind in ("PNG", "PCX", "BMP", "TGA", "BLP")}
    files |= {f"{kind} bits": saved(grey.convert("1"), kind) for kind in ("XBM", "MSP", "PPM", "PCX")}
    files |= {"TGA rle": saved(colour, "TGA", compression="tga_rle"), "WEBP lossless": saved(colour, "WEBP", lossless=True)}
    files |= {"JPEG progressive": saved(colour, "JPEG", progressive=True), "TIFF CMYK": saved(colour.convert("CMYK"), "TIFF")}
    deep = noise.astype(np.uint16) * 16
    files |= {"PNG 16": png_16(deep), "TIFF 16": tiff(deep), "PNG 16 grey": png_16(deep[..., 0], 12)}
    files |= {"FITS": fits(noise[..., 0]), "FITS 16": fits(deep[..., 0]), "plain PPM": plain_netpbm(noise)}
    files |= {"plain PGM": plain_netpbm(noise[..., 0]), "plain deep PPM": plain_netpbm(deep, 65535)}
    files["PPM 4095"] = b"P6 %d %d 4095\n" % (width, height) + deep.astype(">u2").tobytes()
    return files

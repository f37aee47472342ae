"""Zip archives of weights, judged by what they declare, before any of it is unpacked."""

import pickletools
import zipfile
from pathlib import Path

from core.errors import InputError
from core.notes import one_line

LARGEST_PICKLE = 8 << 20  # bytes of names and shapes; those of the largest open_clip model have 0.3 million
SLACK = 16 << 20


def check_archive(path: Path, needed: int) -> bool:
    """Whether nothing in an archive is compressed, as torch.save leaves it: then it can be mapped into memory.

    needed: bytes of the architecture in float32. What unpacks to more than lies on the disk may unpack to twice that: to
    weights in float64, or two sets of them. Raises InputError for more, or for a description of unreasonable length.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.file_size > LARGEST_PICKLE for part in parts if part.filename.endswith(".pkl")):
            raise InputError(f"{one_line(path)} is not opened: the description of its tensors is larger than any model's")
        declared = sum(part.file_size for part in parts)
        if declared > max(path.stat().st_size, 2 * needed + SLACK):
            sizes = f"{declared / 1e6:,.0f} MB, and the model has {needed / 1e6:,.0f} MB"
            raise InputError(f"{one_line(path)} is not opened: it says that it unpacks to {sizes}")
        for part in parts:
            if part.filename.endswith("/data.pkl"):
                _check_memo(archive.read(part))
        return all(part.compress_type == zipfile.ZIP_STORED for part in parts)


def _check_memo(pickled: bytes) -> None:
    """Raises ValueError for a place in the memo beyond all there can be: C's unpickler would make room up to it."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name.endswith("PUT") and not 0 <= int(argument) < len(pickled):
            raise ValueError(f"its description keeps something at place {argument} of its memo")

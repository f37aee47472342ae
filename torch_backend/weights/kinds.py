"""What kind of file weights lie in, told by its first bytes: a hub's blob has no ending, and an ending can be another's."""

import re
import zipfile
from pathlib import Path
from typing import BinaryIO

from core.files.reading import open_file

SAFETENSORS = "a safetensors file"
TORCH = "a file of torch.save"
OLD_TORCH = "a file of torch.save before PyTorch 1.6"
TORCHSCRIPT = "a TorchScript archive"
READABLE = (SAFETENSORS, TORCH, OLD_TORCH, TORCHSCRIPT)

PICKLE_OF_TORCH = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # the number that opens OLD_TORCH, as pickle writes it
LONGEST_HEADER = 100_000_000  # bytes of safetensors' own description, by its definition

OTHERS = {
    b"\x80": "a pickle of Python objects, which could run anything and is not opened",
    b"version https://git-lfs": "a pointer of Git LFS, not the file it stands for: fetch it with git lfs pull",
    b"PK": "a zip archive that is damaged or cut short", b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first", b"\xfd7zXZ": "an xz archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first", b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first", b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "an HDF5 file, such as Keras writes", b"GGUF": "a GGUF file, quantised for llama.cpp",
    b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"%PDF": "a PDF",
}  # fmt: skip


def kind_of(path: Path) -> str:
    """One of `READABLE`, or in words what else the file is.

    Raises InputError where it cannot be opened, or is no regular file.
    """
    with open_file(path, what="the weights") as file:
        start = file.read(512)
        size = file.seek(0, 2)
        archive = _kind_of_archive(file)
    if archive:
        return archive
    if not size:
        return "empty"
    header = int.from_bytes(start[:8], "little")
    if 2 <= header <= LONGEST_HEADER and start[8:9] == b"{":
        return SAFETENSORS
    if start[:1] == b"\x80" and PICKLE_OF_TORCH in start[:24]:
        return OLD_TORCH
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    for magic, words in OTHERS.items():
        if start.startswith(magic):
            return words
    if not start.strip(b"\0"):
        return "nothing but zeros at its start, as a broken download leaves it"
    return _kind_of_text(start)


def _kind_of_archive(file: BinaryIO) -> str:
    """Nothing for a file that is no zip archive."""
    try:
        if not zipfile.is_zipfile(file):
            return ""
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return "a zip archive that is damaged or cut short"
    endings = {name.rpartition("/")[2] for name in names if "/" in name}
    if "data.pkl" in endings:
        return TORCHSCRIPT if "constants.pkl" in endings else TORCH
    if "constants.pkl" in endings:
        return "a TorchScript archive without its data.pkl"
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz of NumPy's arrays"
    return "a zip archive of other files: unpack it first"


def _kind_of_text(start: bytes) -> str:
    try:
        text = start.decode("utf-8-sig", errors="ignore" if len(start) == 512 else "strict").lstrip().lower()
    except UnicodeDecodeError:
        return "of no kind that is known here"
    if re.match(r"<(!doctype|html|\?xml)", text):
        return "a web page: what came was not the file but an answer about it"
    if re.search(r"[\0-\x08\x0e-\x1f]", text):
        return "of no kind that is known here"
    if text.startswith("{"):
        return "JSON, which lists or describes weights but holds none"
    return "text"

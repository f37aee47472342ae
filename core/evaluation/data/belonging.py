"""Which files of a folder are a data set's: regular ones whose names fit its rule. Every other is passed over.

So `._000000000139.jpg` of macOS, `.ipynb_checkpoints`, `Thumbs.db`, a second copy or a link to the folder above count as
nothing.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.notes import one_line

PICTURE_ENDINGS = ("jpg", "jpeg", "png")
LABEL_ENDINGS = ("png",)
"""How pictures and labels may end, in letters of either case."""


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    files: the data set's, each by its name without ending, with the CITY/ it lies in. strangers: others that end as they do.
    """

    files: dict[str, Path]
    strangers: list[str]


def find_files(folder: Path, stem: str, ending: str, endings: tuple[str, ...]) -> Found:
    """The files below `folder` that are called STEM and `ending`, and the strangers among them.

    stem: a regular expression; a "/" in it is a folder's. ending: such as "_leftImg8bit.png", for whose "png" each of `endings`
    may stand. Of two files with one stem the one that ends as the data set's own do is taken.

    A folder that is not there holds nothing. Raises InputError for one that cannot be read.
    """
    tail, _, usual = ending.rpartition(".")
    rule = re.compile(rf"({stem}){re.escape(tail)}\.((?i:{'|'.join(endings)}))", re.DOTALL)
    alike = tuple(f".{one}" for one in endings)
    found: dict[str, list[tuple[bool, str]]] = {}
    strangers = []
    for name in _names(folder, deep="/" in stem):
        match = rule.fullmatch(name)
        if match:
            found.setdefault(match[1], []).append((match.group(match.re.groups) != usual, name))
        elif name.lower().endswith(alike):
            strangers.append(name)
    return Found({stem: folder / min(names)[1] for stem, names in found.items()}, sorted(strangers))


def _names(folder: Path, deep: bool) -> Iterator[str]:
    """The files in the folder, or with `deep` those in its folders as CITY/NAME; nothing hidden, and nothing further down."""
    for entry in _entries(folder):
        if not deep:
            if _is_regular(entry):
                yield entry.name
        elif os.path.isdir(entry.path):
            yield from (f"{entry.name}/{inner.name}" for inner in _entries(Path(entry.path)) if _is_regular(inner))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(one_line(f"cannot read the folder {folder}: {error.strerror or error}")) from None


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or leads to one; os.path.isfile does not raise for a link to itself."""
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and os.path.isfile(entry.path))

"""Small things computed once and kept between runs, an entry a file, believed only where it is what was written."""

import hashlib
import os
from pathlib import Path

from core.errors import InputError
from core.files.reading import read_bytes
from core.files.writing import atomic_path, remove_leftovers
from core.notes import note, one_line

_MAGIC = b"jittor-ovseg store 1\n"
_LIMIT = 1 << 24  # bytes of an entry


class Store:
    """Byte strings by key, in a folder that any number of processes share.

    folder: made when first written to; None where there is no place for one. what: the entries, in the plural, for notes.
    Keys are of letters and digits.

    An entry carries its length and a checksum of key and content, so that a damaged one, or another's in its place, is not
    believed. That is said once, as is that nothing can be kept; neither is an error.
    """

    def __init__(self, folder: Path | None, what: str) -> None:
        self._folder, self._what = folder, what
        self._told_damage = self._swept = False
        self._writing = True

    def read(self, key: str) -> bytes | None:
        """What was kept under the key; None where there is nothing, or nothing that can be believed."""
        if self._folder is None or not os.path.lexists(path := self._path(key)):
            return None
        try:
            found = read_bytes(path, _LIMIT)
        except InputError:
            found = b""
        content = found[len(_head(key, b"")) :]
        if found == _head(key, content) + content:
            return content
        if not self._told_damage:
            self._told_damage = True
            note(f"of the {self._what} kept in {one_line(self._folder)} some are damaged: those are computed anew")
        return None

    def write(self, key: str, content: bytes) -> None:
        """Keep the content under the key, in place of what was there."""
        if not self._writing:
            return
        try:
            if self._folder is None:
                raise OSError("there is no home folder: set JITTOR_OVSEG_CACHE to one")
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._swept:
                remove_leftovers(self._folder)
                self._swept = True
            with atomic_path(self._path(key)) as temporary:
                temporary.write_bytes(_head(key, content) + content)
        except OSError as error:
            self._writing = False
            place = "" if self._folder is None else f"{one_line(self._folder)} cannot be written: "
            note(f"{self._what} are not cached ({place}{error.strerror or error})")

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.entry"


def _head(key: str, content: bytes) -> bytes:
    """What stands before the content: always as long, and no other content of any key has it."""
    checksum = hashlib.sha256(key.encode() + b"\n" + content).hexdigest()
    return _MAGIC + f"{len(content):016d} {checksum}\n".encode()

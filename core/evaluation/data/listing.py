"""The list of a data set's pictures, in the forms that people have it in.

A line names a picture: `2007_000033`, with an ending or a folder before it (`JPEGImages/2007_000033.jpg`), with a column of 1,
-1 or 0 behind it as in `ImageSets/Main`, which is read over, or with the label beside it. Names may hold blanks. Blank lines,
and lines that begin with "#" and name no picture, are passed over.
"""

import os
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError
from core.evaluation.data.belonging import PICTURE_ENDINGS
from core.files.reading import read_lines
from core.notes import one_line

FLAG = re.compile(r"[+-]?[01]")
_FLAG_BEHIND = re.compile(rf"[\s,;]+{FLAG.pattern}$")
_ENDING = re.compile(rf"\.(?:{'|'.join(PICTURE_ENDINGS)})$", re.IGNORECASE)


class Listed(NamedTuple):
    """A picture that a list names in a line, counted from 1, and whether it is there."""

    line: int
    name: str
    there: bool


def read_list(path: Path, there: Container[str]) -> list[Listed]:
    """The pictures that the list at `path` names, in its order. there: the names of the pictures that there are.

    Raises InputError for a list that is missing, no text, empty, or names a picture twice.
    """
    if not os.path.lexists(path):
        raise InputError(one_line(f"there is no list of its pictures at {path}"))
    lines = enumerate(read_lines(path, "the list"), start=1)
    listed = [Listed(number, name, known) for number, line in lines if line for name, known in _named(line, there)]
    if not listed:
        raise InputError(one_line(f"the list {path} names no picture"))
    first: dict[str, int] = {}
    for line, name, _ in listed:
        if name in first:
            raise InputError(one_line(f"the list {path} names {name} twice, in the lines {first[name]} and {line}"))
        first[name] = line
    return listed


def _named(line: str, there: Container[str]) -> list[tuple[str, bool]]:
    """What a line names, and whether it is there: the line as a whole if that can be, or else each of its columns."""
    readings = list(_readings(line))
    whole = next((name for name in readings if name in there), None)
    if whole is not None:
        return [(whole, True)]
    columns = [column for column in line.split() if not FLAG.fullmatch(column)]
    names = [next((name for name in _readings(column) if name in there), None) for column in columns]
    if names and None not in names:
        return [(name, True) for name in dict.fromkeys(names)]
    return [] if line.startswith("#") else [(readings[-1], False)]


def _readings(text: str) -> Iterator[str]:
    """The names that a text may mean, the most literal first."""
    for one in (text, _FLAG_BEHIND.sub("", text)):
        name = re.split(r"[\\/]", one.strip("\"' \t"))[-1]
        yield name
        yield _ENDING.sub("", name)

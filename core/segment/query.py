"""What is looked for: classes, a string each with its synonyms joined by commas or semicolons, and their embeddings."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from core.clip.model import ClipModel
from core.errors import InputError


@dataclass(frozen=True)
class ClassList:
    """Classes and the phrases that stand for them.

    names: the C classes, each called by its first phrase.
    phrases: the P >= C phrases (the synonyms) of all classes, class after class.
    phrase_class: for each phrase, the index of its class; never decreasing.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    phrase_class: tuple[int, ...]

    def shadowed(self) -> list[str]:
        """Classes that can never win, because each of their phrases is one of the first class's too."""
        first = {phrase.casefold() for phrase, index in zip(self.phrases, self.phrase_class, strict=True) if index == 0}
        others = {i for p, i in zip(self.phrases, self.phrase_class, strict=True) if p.casefold() not in first}
        return [name for index, name in enumerate(self.names) if index and index not in others]


@dataclass(frozen=True, eq=False)
class Query:
    """Classes bound to a CLIP: their phrases in its space. `Segmenter.query` makes one, for any number of pictures.

    classes: the names and phrases. text: (P, E) float32 of unit length, a row a phrase. weights_sha256: of the CLIP.
    """

    classes: ClassList
    text: np.ndarray
    weights_sha256: str


def make_query(clip: ClipModel, classes: "Sequence[str] | ClassList | Query") -> Query:
    """Classes, parsed or not, as a query of this CLIP; a query is handed on as it is.

    Raises InputError for classes that are empty, doubled or unknown to the model, or a query of another CLIP.
    """
    if not isinstance(classes, Query):
        parsed = classes if isinstance(classes, ClassList) else parse_classes(classes)
        return Query(parsed, clip.text_embeddings(list(parsed.phrases)), clip.weights_sha256)
    if classes.weights_sha256 != clip.weights_sha256:
        raise InputError("this query is another model's: make it anew with this segmenter's query(classes)")
    return classes


def parse_classes(classes: Sequence[str]) -> ClassList:
    """Parse `["cat", "sofa, couch"]` into names, phrases and the class of each phrase.

    Synonyms are separated by "," or ";"; white space around them is dropped, and inside them made one blank. Case is
    kept, and ignored in comparisons.

    A phrase may stand once only, with one exception: a synonym of the first class may also be a class of its own.
    The published background lists do so ("bed" in COCO-Object); that class then ties with the first at best.

    Raises InputError for anything but a list of strings, an empty list, an empty name or synonym, a doubled class or
    synonym, and characters that cannot be printed.
    """
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence):
        raise InputError(f'classes must be a list of strings, such as ["cat", "sofa, couch"], not {classes!r}')
    if not classes:
        raise InputError("the list of classes is empty; give at least one class")
    synonyms = [_synonyms(text, index) for index, text in enumerate(classes)]
    phrase_class = tuple(index for index, phrases in enumerate(synonyms) for _ in phrases)
    parsed = ClassList(tuple(phrases[0] for phrases in synonyms), tuple(chain(*synonyms)), phrase_class)
    _refuse_doubles(parsed)
    return parsed


def read_classes_file(path: str | os.PathLike) -> list[str]:
    """Read one class a line from a UTF-8 text file; blank lines at the end are ignored.

    Raises InputError when the file is missing, empty or not text, or when a line between classes is blank.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"cannot read classes from {path}: it is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read classes from {path}: {reason}") from None
    if "\0" in text:
        raise InputError(f"cannot read classes from {path}: it is not text")
    # Not splitlines(): a file has one class between line ends, whatever rarer separators a name may hold.
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text.rstrip())]
    if lines == [""]:
        raise InputError(f"cannot read classes from {path}: it is empty; write one class a line")
    if "" in lines:
        raise InputError(f"line {lines.index('') + 1} of {path} is blank; write one class a line")
    return lines


def _synonyms(text: str, index: int) -> list[str]:
    """The phrases of the class at `index`, tidied; at least one, none of them empty."""
    if not isinstance(text, str):
        raise InputError(f"class {index + 1} of the list is {text!r}; classes must be strings")
    phrases = [" ".join(phrase.split()) for phrase in re.split("[,;]", text)]
    if phrases == [""]:
        raise InputError(f"class {index + 1} of the list is empty; give it a name")
    if "" in phrases:
        raise InputError(f'class {index + 1} of the list, "{" ".join(text.split())}", has an empty synonym')
    for phrase in phrases:
        # Cc: control characters; Cs: lone surrogates, which are undecodable bytes of a command line.
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in phrase):
            raise InputError(f"class {index + 1} of the list, {phrase!r}, has characters that cannot be printed")
    return phrases


def _refuse_doubles(classes: ClassList) -> None:
    """Raise InputError when a class is named twice, or a phrase stands twice (but see `parse_classes`)."""
    seen_names: set[str] = set()
    for name in classes.names:
        if name.casefold() in seen_names:
            raise InputError(f'the class "{name}" is in the list twice; leave one out')
        seen_names.add(name.casefold())
    seen: dict[str, int] = {}
    for phrase, index in zip(classes.phrases, classes.phrase_class, strict=True):
        key = phrase.casefold()
        if key not in seen:
            seen[key] = index
        elif seen[key] == index:
            raise InputError(f'the class "{classes.names[index]}" has the synonym "{phrase}" twice; leave one out')
        elif not (seen[key] == 0 and phrase == classes.names[index]):
            first, second = classes.names[seen[key]], classes.names[index]
            raise InputError(f'"{phrase}" stands for two classes, "{first}" and "{second}"; leave one out')

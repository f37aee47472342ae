"""What is looked for: classes, a string each with its synonyms joined by commas or semicolons, and their embeddings."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from core.clip.model import ClipModel
from core.errors import InputError
from core.files.reading import read_lines
from core.notes import note, one_line

LIMIT = 1 << 24
"""Bytes of a class file: 16 MiB, half a million classes."""

BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）"}
SHOWN = 60  # letters of a phrase in a message; its end is what tells long ones apart
NAMED = 20  # pairs of phrases at most, a note each
STRIP = 256  # phrases compared with all others at a time
EQUAL = 1e-5  # the length of the difference of two unit vectors, far below that of any two phrases a model tells apart


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
        query = Query(parsed, clip.text_embeddings(list(parsed.phrases)), clip.weights_sha256)
        _tell_equal(query)
        return query
    if classes.weights_sha256 != clip.weights_sha256:
        raise InputError("this query is another model's: make it anew with this segmenter's query(classes)")
    return classes


def _tell_equal(query: Query) -> None:
    """Says which classes have phrases of equal embeddings, as those have whose ends the model does not read."""
    names, phrases, phrase_class = query.classes.names, query.classes.phrases, query.classes.phrase_class
    pairs = list(_equal_pairs(query))
    for first, second in pairs[:NAMED]:
        whose = [_short(names[phrase_class[index]]) for index in (first, second)]
        told = [_short(phrases[index]) for index in (first, second)]
        of = "" if told == whose else f" (of the classes {whose[0]} and {whose[1]})"
        note(f"{told[0]} and {told[1]}{of} have equal embeddings in this model: where they win, it is always the first")
    if len(pairs) > NAMED:
        note(f"{len(pairs) - NAMED} more pairs of phrases have equal embeddings")


def _equal_pairs(query: Query) -> Iterator[tuple[int, int]]:
    """Pairs of phrases of two classes that the model cannot tell apart, each phrase with the first that equals it.

    A synonym of the first class that is a class of its own is none: see `ClassList.shadowed`.
    """
    text = query.text.astype(np.float64)  # in which distances of 1e-5 are not lost in rounding
    squares = (text**2).sum(axis=1)
    phrases, phrase_class = query.classes.phrases, query.classes.phrase_class
    for start in range(0, len(text), STRIP):
        rows = slice(start, start + STRIP)
        distances = squares[rows, None] + squares - 2 * (text[rows] @ text.T)
        for second, equal in enumerate(np.tril(distances < EQUAL**2, start - 1), start):
            first = int(equal.argmax())
            same_word = phrases[first].casefold() == phrases[second].casefold()
            if equal[first] and phrase_class[first] != phrase_class[second] and not same_word:
                yield first, second


def parse_classes(classes: Sequence[str]) -> ClassList:
    """Parse `["cat", "sofa, couch"]` into names, phrases and the class of each phrase.

    Synonyms are separated by "," or ";", but not within brackets: "table (wood, metal)" is one phrase. White space around
    them is dropped, and inside them made one blank. Case is kept, and ignored in comparisons.

    A phrase may stand once only, with one exception: a synonym of the first class may also be a class of its own.
    The published background lists do so ("bed" in COCO-Object); that class then ties with the first at best.

    Raises InputError for anything but a list of strings, an empty list, an empty name or synonym, a doubled class or
    synonym, and characters that cannot be printed.
    """
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence):
        raise InputError(f'classes must be a list of strings, such as ["cat", "sofa, couch"], not {one_line(repr(classes))}')
    if not classes:
        raise InputError("the list of classes is empty; give at least one class")
    synonyms = [_synonyms(text, index) for index, text in enumerate(classes)]
    phrase_class = tuple(index for index, phrases in enumerate(synonyms) for _ in phrases)
    parsed = ClassList(tuple(phrases[0] for phrases in synonyms), tuple(chain(*synonyms)), phrase_class)
    _refuse_doubles(parsed)
    return parsed


def read_classes_file(path: str | os.PathLike) -> list[str]:
    """Read one class a line from a UTF-8 text file; blank lines at the end are ignored.

    A line that begins with "#" is a comment: it is left out, and a note says so. (`parse_classes` takes such names.)

    Raises InputError when the file is missing, not a regular file, without classes, too long or not text, or when a line
    between classes is blank.
    """
    lines = read_lines(path, "classes from", LIMIT)
    if "" in lines:
        raise InputError(f"line {lines.index('') + 1} of {one_line(path)} is blank; write one class a line")
    classes = [line for line in lines if not line.startswith("#")]
    if not classes:
        raise InputError(f"cannot read classes from {one_line(path)}: it is empty; write one class a line")
    if len(classes) < len(lines):
        comments = [line for line in lines if line.startswith("#")]
        more = f" and {len(comments) - 1} more" if len(comments) > 1 else ""
        note(f'{one_line(path)}: lines that begin with "#" are comments, not classes: {_short(comments[0])}{more}')
    return classes


def _synonyms(text: str, index: int) -> list[str]:
    """The phrases of the class at `index`, tidied; at least one, none of them empty."""
    if not isinstance(text, str):
        raise InputError(f"class {index + 1} of the list is {one_line(repr(text), SHOWN)}; classes must be strings")
    phrases = [" ".join(phrase.split()) for phrase in _split(text)]
    if phrases == [""]:
        raise InputError(f"class {index + 1} of the list is empty; give it a name")
    if "" in phrases:
        raise InputError(f"class {index + 1} of the list, {_short(' '.join(text.split()))}, has an empty synonym")
    for phrase in phrases:
        # Cc: control characters; Cs: lone surrogates, which are undecodable bytes of a command line.
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in phrase):
            raise InputError(f"class {index + 1} of the list, {_short(phrase)}, has characters that cannot be printed")
    return phrases


def _split(text: str) -> list[str]:
    """A text at each "," and ";" outside of brackets; a bracket without its partner is a letter like others."""
    opened: list[tuple[str, int]] = []  # what would close a bracket, and its place
    waiting: Counter[str] = Counter()
    depth = np.zeros(len(text) + 1, dtype=np.int64)  # how many pairs begin at a letter, less those that end
    for place, letter in enumerate(text):
        if letter in BRACKETS:
            opened.append((BRACKETS[letter], place))
            waiting[BRACKETS[letter]] += 1
        elif waiting[letter]:
            closing = ""
            while closing != letter:
                closing, begin = opened.pop()
                waiting[closing] -= 1
            depth[begin] += 1
            depth[place] -= 1
    cuts = [place for place, enclosed in enumerate(depth.cumsum()) if not enclosed and text[place : place + 1] in (",", ";")]
    return [text[begin + 1 : end] for begin, end in pairwise([-1, *cuts, len(text)])]


def _short(phrase: str) -> str:
    """A phrase in quotes, fit for a message."""
    return f'"{one_line(phrase, SHOWN)}"'


def _refuse_doubles(classes: ClassList) -> None:
    """Raise InputError when a class is named twice, or a phrase stands twice (but see `parse_classes`)."""
    seen_names: set[str] = set()
    for name in classes.names:
        if name.casefold() in seen_names:
            raise InputError(f"the class {_short(name)} is in the list twice; leave one out")
        seen_names.add(name.casefold())
    seen: dict[str, int] = {}
    for phrase, index in zip(classes.phrases, classes.phrase_class, strict=True):
        key = phrase.casefold()
        if key not in seen:
            seen[key] = index
        elif seen[key] == index:
            name = _short(classes.names[index])
            raise InputError(f"the class {name} has the synonym {_short(phrase)} twice; leave one out")
        elif not (seen[key] == 0 and phrase == classes.names[index]):
            first, second = _short(classes.names[seen[key]]), _short(classes.names[index])
            raise InputError(f"{_short(phrase)} stands for two classes, {first} and {second}; leave one out")

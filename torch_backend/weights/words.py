"""Reasons that other packages give, cut so that they end at a word."""

import textwrap

from core.notes import one_line


def clipped(text: object, most: int = 200) -> str:
    """A reason in one line of up to `most` letters: whole words, no bracket left open."""
    words = " ".join(one_line(word, 120) for word in str(text).split())
    short = textwrap.shorten(words, most, placeholder="")
    if short == words:
        return words
    for opening, closing in ("()", "[]", "{}"):
        if short.count(opening) > short.count(closing):
            short = short[: short.rindex(opening)]
    return f"{short.rstrip(' ,;:')} ..."


def reason_in(error: Exception) -> str:
    """The first line of what an error says, or else its kind."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return clipped(line)


def listed(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(one_line(name, 80) for name in names[:most]) + (f" and {rest} more" if rest > 0 else "")

"""Phrases that are longer than a model reads: told of, as their ends count for nothing."""

import inspect
from collections.abc import Callable, Sequence

import numpy as np

from core.notes import note, one_line
from core.primitives.arrays import Array

NAMED = 20  # phrases at most, a note each
SHOWN = 60  # of a phrase's letters


def tell_truncated(tokenizer: Callable[..., Array], templates: Sequence[str], phrases: Sequence[str]) -> None:
    """Says which phrases any template makes longer than the model reads, so that their ends, or the template's, are lost.

    tokenizer: texts to ids (n, L), of a longer L if `context_length` says so; one that has no such choice is taken for one
    that refuses what is too long.
    """
    if "context_length" not in inspect.signature(tokenizer).parameters:
        return
    limit = int(tokenizer([templates[0]]).shape[1])
    cut = {phrase: n for phrase in phrases if (n := _n_truncated(tokenizer, templates, phrase, limit))}
    for phrase, n in list(cut.items())[:NAMED]:
        which = f"{n} of the {len(templates)} templates" if len(templates) > 1 else "the template"
        note(f'"{one_line(phrase, SHOWN)}" is too long: in {which} it is cut at the {limit} tokens that the model reads')
    if len(cut) > NAMED:
        note(f"{len(cut) - NAMED} more phrases are too long and cut at {limit} tokens")


def _n_truncated(tokenizer: Callable[..., Array], templates: Sequence[str], phrase: str, limit: int) -> int:
    """In how many templates a phrase is truncated."""
    texts = [template.format(phrase) for template in templates]
    if max(len(text.encode(errors="replace")) for text in texts) + 2 <= limit:
        return 0  # a token stands for a byte at least, and two are the start and the end
    read, longer = np.asarray(tokenizer(texts)), np.asarray(tokenizer(texts, context_length=2 * limit))
    other, behind = longer[:, :limit] != read, longer[:, limit:] != longer[:, -1:]
    return int((other.any(axis=1) | behind.any(axis=1)).sum())

"""A CLIP's weights out of what a file holds: found, renamed, and checked before anything is computed of them."""

from math import isqrt
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from core.errors import InputError
from core.notes import note, one_line
from torch_backend.weights.describe import looks_like
from torch_backend.weights.formats import Format, formats
from torch_backend.weights.names import Entry, Found, entries_of, find, others_beside
from torch_backend.weights.words import listed

EXTRAS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids")
"""Entries that are no weights: OpenAI's notes, and constants."""

LARGEST_GRID = 128  # patches a side that a table of positions may have; the largest of open_clip is 40
TABLES = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")


def fit(tree: Any, model: nn.Module, name: str, path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The state of an open_clip model, from what its file holds, and the format it came in (`formats`).

    model: of that architecture; only its shapes are read, so that it may lie on the meta device. Tables of positions of
    another size are resized as open_clip does it, and that is said. Raises InputError for the weights of another model,
    saying what they look like where that can be told.
    """
    shapes = {key: tuple(x.shape) for key, x in model.state_dict().items()}
    entries = entries_in(tree, path)
    title, table, found = _best(entries, formats(list(shapes)))
    difference = found and _difference(found, entries, table, shapes)
    if found is None or difference:
        what = looks_like({entry.full: entry.tensor for entry in entries}, name, found is not None)
        reason = f"{difference or 'none of its names is there'}{what}"
        raise InputError(f"{one_line(path)} does not hold the weights of {name}: {reason}")
    state = {key: source.make([found.entries[n].tensor for n in source.names]) for key, source in table.items()}
    if "logit_scale" in state:
        state["logit_scale"] = state["logit_scale"].reshape(shapes["logit_scale"])
    return _resized(state, model, path), title


def entries_in(tree: Any, path: Path) -> list[Entry]:
    """The tensors that a file holds. Raises InputError where there are none."""
    try:
        entries = entries_of(tree)
    except ValueError as error:
        raise InputError(f"{one_line(path)} is no weights file: {error}") from None
    if not entries:
        advice = "save one with torch.save(model.state_dict(), ...) or as safetensors"
        raise InputError(f"{one_line(path)} holds no state dict: {advice}")
    return entries


def _best(entries: list[Entry], tables: dict[str, Format]) -> tuple[str, Format, Found | None]:
    """The format and the prefix under which most of the weights are found, and a word where they are there twice."""
    best: tuple[float, str, Format, list[Found]] = (0.0, *next(iter(tables.items())), [])
    for title, table in tables.items():
        names = [name for source in table.values() for name in source.names]
        found = find(entries, names)
        share = len(found[0].entries) / len(names) if found else 0.0
        if share > best[0]:
            best = (share, title, table, found)
    share, title, table, found = best
    if share == 1.0:
        say_if_several(found)
    return title, table, found[0] if found else None


def say_if_several(found: list[Found]) -> None:
    """A note where a file holds weights more than once, as those of a teacher and of its student."""
    same = [each.says for each in found if len(each.entries) == len(found[0].entries)]
    if len(same) > 1:
        note(f"the file holds such weights more than once ({listed(same)}): {one_line(same[0], 80)} is taken")


def _difference(found: Found, entries: list[Entry], table: Format, shapes: dict[str, tuple[int, ...]]) -> str:
    """What is missing, left over or of another shape, in words; nothing where all fits."""
    missing = [n for source in table.values() for n in source.names if n not in found.entries]
    if missing:
        return f"it lacks {listed(missing)}"
    others = [n for n in others_beside(found, entries) if n.rpartition(".")[2] not in EXTRAS]
    if others:
        return f"it has {listed(others)} besides"
    for key, source in table.items():
        for part in source.names:
            wrong = _wrong(found.entries[part].tensor, source.shape(shapes[key]), key)
            if wrong:
                return f"{part} {wrong}"
    return ""


def _wrong(x: torch.Tensor, wanted: tuple[int, ...], key: str) -> str:
    """What is wrong with one tensor, without computing anything of it."""
    odd = odd_kind(x)
    if odd:
        return f"is {odd}"
    shape = tuple(x.shape)
    if shape == wanted or (key == "logit_scale" and shape in ((), (1,))):
        return ""
    if key in TABLES and len(shape) == 2 and shape[1] == wanted[1]:
        if shape[0] > LARGEST_GRID**2 + 1:
            return f"has {shape[0]} positions, more than any model"
        patches = shape[0] - 1
        if key == "visual.positional_embedding" and (patches < 1 or isqrt(patches) ** 2 != patches):
            return f"has {patches} positions of patches, which are no square grid"
        return "" if shape[0] else "is empty"
    return f"is {_by(shape)}, not {_by(wanted)}"


def odd_kind(x: torch.Tensor) -> str:
    """What keeps a tensor from being a weight as it is, in words; nothing where it is dense and of real numbers."""
    if x.is_nested:
        return "a nested tensor; save it dense"
    if x.layout != torch.strided:
        return "a sparse tensor; save it dense"
    if x.is_meta:
        return "on the meta device, without values"
    if x.is_quantized:
        return "quantised; save it in float32"
    if not x.is_floating_point():
        return f"of {str(x.dtype).removeprefix('torch.')}, not of real numbers"
    return ""


def _resized(state: dict[str, torch.Tensor], model: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """The state with tables of positions of the model's size, resized by open_clip's own functions."""
    own = model.state_dict()
    for key in TABLES:
        if key not in state or state[key].shape == own[key].shape:
            continue
        state[key] = state[key] if state[key].dtype == torch.float64 else state[key].float()
        if key == "visual.positional_embedding":
            rows, columns = model.visual.grid_size
            trained = isqrt(len(state[key]) - 1)
            note(f"{one_line(path.name)}: its positions of {trained} x {trained} patches are resized to {rows} x {columns}")
            open_clip.model.resize_pos_embed(state, model)
        else:
            note(f"{one_line(path.name)}: its positions of {len(state[key])} tokens are resized to {len(own[key])}")
            open_clip.model.resize_text_pos_embed(state, model)
    return state


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"

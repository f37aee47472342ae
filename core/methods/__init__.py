"""The published methods by name, each a recipe of parts over any backend's primitives.

A recipe is a function `(ops, features, ...options) -> (B, N, E)` patch embeddings; adding a method is adding one to `METHODS`.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from core.arrays import Array
from core.backends import load_backend
from core.errors import InputError
from core.features import ClipFeatures
from core.methods.calibrated import scclip, sfp
from core.methods.last_block import clearclip, maskclip, naclip, sclip, vanilla
from core.methods.parts import OPTIONS as PART_OPTIONS
from core.methods.parts import make_parts, split_name
from core.methods.proxy import fsa, proxyclip

METHODS: dict[str, Callable[..., Array]] = {
    "vanilla": vanilla,
    "maskclip": maskclip,
    "sclip": sclip,
    "clearclip": clearclip,
    "naclip": naclip,
    "scclip": scclip,
    "sfp": sfp,
    "proxyclip": proxyclip,
    "fsa": fsa,
}


INPUTS = ("text", "external", "parts")  # what a recipe may take beside its options


def method_options(method: str) -> dict[str, Any]:
    """The options of a method, or of a composition such as "scclip+neighbourhood+fsa", and their published values.

    Raises InputError when there is no such method, or the composition is not possible.
    """
    base, parts = split_name(method)
    if base not in METHODS:
        raise InputError(f"unknown method {base!r}: choose one of {', '.join(METHODS)}")
    own = {name: p.default for name, p in _keywords(base).items() if name not in INPUTS}
    return own | {name: value for part in parts for name, value in PART_OPTIONS[part].items()}


def check_method(method: str, options: dict[str, Any]) -> None:
    """Raises InputError when there is no such method, it has no such option, or a value is of another kind than published."""
    known = method_options(method)
    unknown = [name for name in options if name not in known]
    if unknown:
        offers = f"its options are {', '.join(known)}" if known else "it has none"
        raise InputError(f"method {method} has no option {', '.join(unknown)}: {offers}")
    for name, value in options.items():
        if not _alike(value, known[name]):
            raise InputError(f"option {name} of {method} must be like the published {known[name]!r}, not {value!r}")


def _alike(value: Any, published: Any) -> bool:
    """Whether a value is of the published one's kind: switch, whole number, number, word, or as many of them."""
    if isinstance(published, tuple):
        several = isinstance(value, tuple | list) and len(value) == len(published)
        return several and all(map(_alike, value, published))
    if isinstance(published, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(published, bool)
    kinds = {int: Integral, float: Real, str: str}
    return isinstance(value, kinds[type(published)])


def method_needs(method: str, options: dict[str, Any]) -> set[str]:
    """What a method reads beside the hidden states: any of "text", "external" and "attention" (block L-2's)."""
    base, parts = split_name(method)
    needs = {"text"} if base == "fsa" or "fsa" in parts else set()
    if base in ("proxyclip", "fsa"):
        needs.add("external")
    if base == "sfp" and options.get("detector", "SOM") == "SOM":
        needs.add("attention")
    return needs


def patch_tokens(
    ops: Any,
    features: ClipFeatures,
    method: str,
    text: Array | None = None,
    external: Array | None = None,
    seen: dict[str, Array] | None = None,
    **options: Any,
) -> Array:
    """(B, N, E) patch embeddings, native arrays of `ops`, not normalised; the arguments are `patch_embeddings`'s.

    seen: filled with what the method saw on the way (`Parts`).
    """
    check_method(method, options)
    base, names = split_name(method)
    parts, options = make_parts(names, options)
    given = {"text": text, "external": external, "parts": replace(parts, seen=seen)}
    inputs = {name: x for name, x in given.items() if name in _keywords(base)}
    with ops.no_grad():
        return METHODS[base](ops, features.to(ops), **inputs, **options)


def patch_embeddings(
    features: ClipFeatures,
    method: str = "naclip",
    backend: str = "numpy",
    text: Array | None = None,
    external: Array | None = None,
    **options: Any,
) -> np.ndarray:
    """The patch embeddings of a method on a backend, in CLIP's shared space.

    features: of B pictures on an h x w grid. method: a name of `METHODS`, or a composition BASE+PART+PART of the parts
    neighbourhood, repair and fsa. text: (Q, E) embeddings, external: (B, c, h', w') features of another model, for the
    methods that read them; the others do not look at them. options: the method's own, under the papers' names
    (`method_options`).
    Returns (B, h, w, E) NumPy, not normalised, on the external grid for proxyclip and fsa; cosines with the text
    embeddings are the patch logits.

    Raises InputError for an unknown method, option or backend, or a backend that is not installed.
    """
    ops = load_backend(backend)
    tokens = ops.to_numpy(patch_tokens(ops, features, method, text, external, **options))
    return tokens.reshape(tokens.shape[0], *output_grid(features, method, external), tokens.shape[-1])


def output_grid(features: ClipFeatures, method: str, external: Array | None) -> tuple[int, int]:
    """(rows, columns) of a method's embeddings: CLIP's grid, or the external model's."""
    return tuple(external.shape[-2:]) if "external" in method_needs(method, {}) else features.grid


def _keywords(base: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(METHODS[base]).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

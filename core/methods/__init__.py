"""The published methods by name, each a recipe of parts over any backend's primitives.

A recipe is a function `(ops, features, ...options) -> (B, N, E)` patch embeddings; adding a method is adding one to `METHODS`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from core.arrays import Array
from core.backends import load_backend
from core.errors import InputError
from core.features import ClipFeatures
from core.methods.last_block import clearclip, maskclip, naclip, sclip, vanilla

METHODS: dict[str, Callable[..., Array]] = {
    "vanilla": vanilla,
    "maskclip": maskclip,
    "sclip": sclip,
    "clearclip": clearclip,
    "naclip": naclip,
}


INPUTS = ("text", "external")  # what a recipe may take beside the features


def method_options(method: str) -> dict[str, Any]:
    """The options of a method and their published values.

    Raises InputError when there is no method of that name.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    return {name: p.default for name, p in _keywords(method).items() if name not in INPUTS}


def check_method(method: str, options: dict[str, Any]) -> None:
    """Raises InputError when there is no such method or it has no such option."""
    known = method_options(method)
    unknown = [name for name in options if name not in known]
    if unknown:
        offers = f"its options are {', '.join(known)}" if known else "it has none"
        raise InputError(f"method {method} has no option {', '.join(unknown)}: {offers}")


def patch_tokens(
    ops: Any,
    features: ClipFeatures,
    method: str,
    text: Array | None = None,
    external: Array | None = None,
    **options: Any,
) -> Array:
    """(B, N, E) patch embeddings, native arrays of `ops`, not normalised; the arguments are `patch_embeddings`'s."""
    check_method(method, options)
    given = {"text": text, "external": external}
    with ops.no_grad():
        inputs = {name: ops.asarray(x) for name, x in given.items() if x is not None and name in _keywords(method)}
        return METHODS[method](ops, features.to(ops), **inputs, **options)


def patch_embeddings(
    features: ClipFeatures,
    method: str = "naclip",
    backend: str = "numpy",
    text: Array | None = None,
    external: Array | None = None,
    **options: Any,
) -> np.ndarray:
    """The patch embeddings of a method on a backend, in CLIP's shared space.

    features: of B pictures on an h x w grid. text: (Q, E) embeddings, external: (B, c, h', w') features of another
    model, for the methods that read them; the others do not look at them. options: the method's own, under the papers'
    names (`method_options`).
    Returns (B, h, w, E) NumPy, not normalised; cosines with the text embeddings are the patch logits.

    Raises InputError for an unknown method, option or backend, or a backend that is not installed.
    """
    ops = load_backend(backend)
    tokens = ops.to_numpy(patch_tokens(ops, features, method, text, external, **options))
    return tokens.reshape(tokens.shape[0], *features.grid, tokens.shape[-1])


def _keywords(method: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(METHODS[method]).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

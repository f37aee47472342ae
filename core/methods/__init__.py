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


def method_options(method: str) -> dict[str, Any]:
    """The options of a method and their published values.

    Raises InputError when there is no method of that name.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    parameters = inspect.signature(METHODS[method]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_method(method: str, options: dict[str, Any]) -> None:
    """Raises InputError when there is no such method or it has no such option."""
    known = method_options(method)
    unknown = [name for name in options if name not in known]
    if unknown:
        offers = f"its options are {', '.join(known)}" if known else "it has none"
        raise InputError(f"method {method} has no option {', '.join(unknown)}: {offers}")


def patch_tokens(ops: Any, features: ClipFeatures, method: str, **options: Any) -> Array:
    """(B, N, E) patch embeddings, native arrays of `ops`, not normalised."""
    check_method(method, options)
    with ops.no_grad():
        return METHODS[method](ops, features.to(ops), **options)


def patch_embeddings(features: ClipFeatures, method: str = "naclip", backend: str = "numpy", **options: Any) -> np.ndarray:
    """The patch embeddings of a method on a backend, in CLIP's shared space.

    features: of B pictures on an h x w grid. options: the method's own, under the papers' names (`method_options`).
    Returns (B, h, w, E) NumPy, not normalised; cosines with the text embeddings are the patch logits.

    Raises InputError for an unknown method, option or backend, or a backend that is not installed.
    """
    ops = load_backend(backend)
    tokens = ops.to_numpy(patch_tokens(ops, features, method, **options))
    return tokens.reshape(tokens.shape[0], *features.grid, tokens.shape[-1])

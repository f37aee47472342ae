"""The backends and what else other packages give: the one place that names those packages, and loads them when asked for."""

import importlib
import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from core.errors import InputError
from core.primitives import FILES

PACKAGES = {"numpy": "core", "torch": "torch_backend", "jittor": "jt_backend"}
"""The backends, and the package in whose `primitives` each lies."""

PROVIDERS = {
    "clip": ("torch_backend.clip.tower", "ClipBackbone"),
    "external": ("torch_backend.vision.timm_models", "load_external"),
}
"""What only one framework gives: a CLIP by name (`core.clip.model`), and the vision models that proxyclip and fsa read."""

INSTALL = {
    "torch": "pip install torch",
    "open_clip": "pip install open_clip_torch",
    "timm": "pip install timm",
    "jittor": "pip install jittor onednn-cpu-gomp==2021.2.0 onednn-devel-cpu-gomp==2021.2.0",
}


class Backend:
    """All primitives of a backend as attributes, and its `name`.

    They are documented in `core.primitives`. They take NumPy or native arrays and give native ones.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name} backend>"


def check_backend(name: str) -> None:
    """Raises InputError when there is no backend of that name; imports nothing."""
    if name not in PACKAGES:
        raise InputError(f"unknown backend {name!r}: choose one of {', '.join(PACKAGES)}")


@cache
def load_backend(name: str) -> Backend:
    """The primitives of "numpy", "torch" or "jittor": whatever the contract's files declare in their `__all__`.

    Raises InputError when there is no such backend or its framework is not installed.
    """
    check_backend(name)
    ops = Backend(name)
    for file in FILES:
        contract = importlib.import_module(f"core.primitives.{file}")
        mirrored = [primitive for primitive in contract.__all__ if not written_once(getattr(contract, primitive))]
        own = _imported(f"{PACKAGES[name]}.primitives.{file}") if mirrored else contract
        for primitive in contract.__all__:
            function = getattr(own if primitive in mirrored else contract, primitive)
            if primitive in mirrored:
                _document(function, getattr(contract, primitive), name)
            else:
                function = _bound(function, ops)
            setattr(ops, primitive, function)
    return ops


def load_provider(what: str) -> Any:
    """What another package gives, by its name in `PROVIDERS`. Raises InputError when a framework it needs is not installed."""
    module, name = PROVIDERS[what]
    return getattr(_imported(module), name)


def written_once(primitive: Callable) -> bool:
    """Whether a primitive of the contract is written over the others, and so the same for all backends."""
    return next(iter(inspect.signature(primitive).parameters), None) == "ops"


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in INSTALL:
            raise
        raise InputError(f"{module} needs {error.name}, which is not installed: {INSTALL[error.name]}") from None


def _document(function: Callable, contract: Callable, backend: str) -> None:
    """Gives a mirrored primitive the contract's docstring; what it says itself, of what is different, stays behind it."""
    said, own = inspect.getdoc(contract), inspect.getdoc(function) or ""
    if function is not contract and not own.startswith(said):
        function.__doc__ = f"{said}\n\nOn {backend}: {own}" if own else said


def _bound(function: Callable, ops: Backend) -> Callable:
    """The function over this backend."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(ops, *arguments, **options)

    del call.__wrapped__  # else inspect would show the signature with `ops`
    call.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    return call

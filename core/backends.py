"""The three backends, loaded when asked for."""

import importlib
import inspect
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from core.errors import InputError
from core.outliers import local_outlier_factor, mean_interpolation

PACKAGES = {"numpy": "core", "torch": "torch_backend", "jittor": "jt_backend"}
PRIMITIVE_MODULES = ("ops", "layers", "neighbourhood", "attention", "neighbours", "links", "resize", "pamr")
SHARED = (local_outlier_factor, mean_interpolation)  # written once over the primitives of any backend
INSTALL = {
    "torch": "pip install torch",
    "jittor": "pip install jittor onednn-cpu-gomp==2021.2.0 onednn-devel-cpu-gomp==2021.2.0",
}


def check_backend(name: str) -> None:
    """Raises InputError when there is no backend of that name; imports nothing."""
    if name not in PACKAGES:
        raise InputError(f"unknown backend {name!r}: choose one of {', '.join(PACKAGES)}")


@cache
def load_backend(name: str) -> SimpleNamespace:
    """All primitives of the backend "numpy", "torch" or "jittor" as attributes of one namespace, and its `name`.

    The primitives are documented in `core`, in the modules named in `PRIMITIVE_MODULES`, and in `outliers` those that are
    written once over the others. They take NumPy or native arrays and give native ones.

    Raises InputError when there is no such backend or its framework is not installed.
    """
    check_backend(name)
    functions = {}
    try:
        for module in PRIMITIVE_MODULES:
            functions |= public_functions(importlib.import_module(f"{PACKAGES[name]}.{module}"))
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "jittor"):
            raise
        raise InputError(f"the {name} backend needs {error.name}: {INSTALL[name]}") from None
    ops = SimpleNamespace(name=name, **functions)
    for function in SHARED:
        setattr(ops, function.__name__, _bound(function, ops))
    return ops


def _bound(function: Callable, ops: SimpleNamespace) -> Callable:
    """The function over this backend; without gradients, for which Jittor would keep every intermediate array."""

    def call(*arguments: Any, **options: Any) -> Any:
        with ops.no_grad():
            return function(ops, *arguments, **options)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


def public_functions(module: object) -> dict[str, object]:
    """The functions that a module itself defines, without those whose name begins with an underscore."""
    return {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    }

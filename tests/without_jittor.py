"""The modules that make Jittor ready, loaded without the package around them, whose `__init__` would import Jittor."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[1] / "jt_backend"


def load_without_jittor(name: str) -> ModuleType:
    """A private copy of the module `jt_backend.NAME` and of those of the package that it imports."""
    ours = {name: sys.modules.pop(name) for name in _loaded()}
    package = ModuleType("jt_backend")
    package.__path__ = [str(PACKAGE)]
    sys.modules["jt_backend"] = package
    try:
        return importlib.import_module(f"jt_backend.{name}")
    finally:
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(ours)


def _loaded() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "jt_backend"]

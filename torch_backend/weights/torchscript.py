"""The tensors of a TorchScript archive, read without running its code: OpenAI publishes CLIP's weights as such.

An archive is a zip of `data.pkl`, a pickle of the module tree, and `data/KEY`, the raw storages. The pickle is read by an
unpickler that knows tensors and plain containers and nothing else.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

STORAGES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "DoubleStorage": torch.float64, "LongStorage": torch.int64,
    "IntStorage": torch.int32, "BoolStorage": torch.bool, "BFloat16Storage": torch.bfloat16, "ByteStorage": torch.uint8,
}  # fmt: skip
MOST_MODULES, MOST_LEVELS = 100_000, 64


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Dotted name -> tensor. Raises pickle.UnpicklingError when the pickle asks for anything but tensors."""
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        with archive.open(f"{root}data.pkl") as file:
            tree = _TensorUnpickler(file, archive, root).load()
    return _tensors(tree)


class _Module:
    """Stands for any class of the archive: keeps the attributes it was saved with."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name.startswith("build_") and name.endswith("list"):
            return list
        raise pickle.UnpicklingError(f"the archive asks for {module}.{name}")

    def persistent_load(self, reference: tuple) -> torch.Tensor:
        _, dtype, key, _, n_values = reference
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._root}data/{key}"))
            self._storages[key] = torch.frombuffer(raw, dtype=dtype, count=n_values) if raw else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


def _tensors(tree: _Module) -> dict[str, torch.Tensor]:
    """The tensors of a module and of those within it, by dotted names.

    Raises ValueError for more modules, or more levels of them, than any model has: they could hold each other.
    """
    found: dict[str, torch.Tensor] = {}
    waiting, seen = [("", tree)], 0
    while waiting:
        prefix, module = waiting.pop()
        seen += 1
        if seen > MOST_MODULES or prefix.count(".") > MOST_LEVELS:
            raise ValueError("its modules hold each other without end")
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found[prefix + name] = value
            elif isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value))
    return found

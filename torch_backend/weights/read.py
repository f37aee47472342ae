"""Reading weights' files of every kind, without running anything they hold."""

import errno
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from core.errors import InputError
from core.notes import one_line
from torch_backend.weights.archives import check_archive
from torch_backend.weights.kinds import OLD_TORCH, READABLE, SAFETENSORS, TORCH, TORCHSCRIPT, kind_of
from torch_backend.weights.torchscript import read_torchscript
from torch_backend.weights.words import reason_in

WITHOUT_MODEL = 1 << 30  # bytes that an archive may unpack to where no model says how many it needs


def is_there(path: Path) -> bool:
    """Whether a path leads to something that is read as a file, or else refused as what it is.

    Raises InputError where that cannot be told: in a closed folder, or where a link leads to itself.
    """
    try:
        return path.stat() is not None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise InputError(f"cannot read the weights {one_line(path, 200)}: {str(error.strerror).lower()}") from None


def read_weights(path: Path, needed: int = WITHOUT_MODEL) -> Any:
    """What a file of weights holds: tensors in mappings and lists, as they were saved.

    Safetensors, torch.save's files old and new (weights_only) and OpenAI's TorchScript archives are read, whatever their
    names. needed: bytes of the model in float32, against which what an archive declares is held before it is unpacked.
    Raises InputError for a file that cannot be read as one of these.
    """
    kind = kind_of(path)
    if kind not in READABLE:
        advice = "; give safetensors, or a state dict saved by torch.save" if ":" not in kind else ""
        raise InputError(f"cannot read the weights {one_line(path)}: it is {kind}{advice}")
    try:
        return _read(path, kind, needed)
    except InputError:
        raise
    except pickle.UnpicklingError:
        advice = "give a state dict saved by torch.save, or safetensors"
        raise InputError(f"{one_line(path)} holds more than tensors, and is not opened: {advice}") from None
    except MemoryError:
        raise InputError(f"cannot read the weights {one_line(path)}: there is not enough memory for what it declares") from None
    except Exception as error:  # a damaged archive makes its readers raise many kinds, TypeError and StopIteration among them
        what = f"it is {kind}, damaged or cut short"
        raise InputError(f"cannot read the weights {one_line(path)}: {what} ({reason_in(error)})") from None


def _read(path: Path, kind: str, needed: int) -> Any:
    if kind == SAFETENSORS:
        return load_file(path)
    if kind == OLD_TORCH:
        return _torch_load(path)
    stored = check_archive(path, needed)
    if kind == TORCHSCRIPT:
        return read_torchscript(path)
    assert kind == TORCH
    return _torch_load(path, mapped=stored)


def _torch_load(path: Path, mapped: bool = False) -> Any:
    """mapped: leave on the disk what is not asked for, such as an optimizer's state."""
    if mapped and path.suffix != ".safetensors":
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    with open(path, "rb") as file:  # of a path, torch.load would look at the name's ending first
        return torch.load(file, map_location="cpu", weights_only=True)

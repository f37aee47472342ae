"""Arrays and facts about them in one .npz, nothing in it pickled; read back, or refused in one line."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from core.errors import InputError, first_line
from core.files.writing import atomic_path

Record = TypeVar("Record")


def save_record(path: str | os.PathLike, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed .npz of a `kind` such as "features 1"; facts are whatever JSON can say.

    Raises OSError when it cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, facts=json.dumps({"format": f"jittor-ovseg {kind}", **facts}), **arrays)


def load_record(
    path: str | os.PathLike, kind: str, name: str, make: Callable[[dict[str, Any], dict[str, np.ndarray]], Record]
) -> Record:
    """`make(facts, arrays)` of what `save_record` wrote. Raises InputError, with `name`, for a file that is of no such kind."""
    try:
        facts, arrays = _read(path)
        if facts["format"] != f"jittor-ovseg {kind}":
            raise ValueError(f"its format is {facts['format']!r}")
        return make(facts, arrays)
    except FileNotFoundError:
        raise InputError(f"no {name} {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a {name}") from None
    except OSError as error:
        raise InputError(f"the {name} {path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever the zip, NumPy and JSON readers make of bytes that are of another kind, or damaged
        raise InputError(f"{path} is not a {name} that this version wrote: {first_line(error)}") from None


def _read(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("it is a single array")
    with file:
        if "facts" not in file.files:
            raise ValueError("it says no facts about its arrays")
        arrays = {entry: file[entry] for entry in file.files}
    return json.loads(str(arrays.pop("facts"))), arrays

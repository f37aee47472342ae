"""Arrays and facts about them in one .npz, nothing in it pickled; read back, or refused in one line."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from core.errors import InputError
from core.files import atomic_path

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
        with np.load(path, allow_pickle=False) as file:
            arrays = {entry: file[entry] for entry in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if facts["format"] != f"jittor-ovseg {kind}":
            raise ValueError(f"its format is {facts['format']!r}")
        return make(facts, arrays)
    except FileNotFoundError:
        raise InputError(f"no {name} {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a {name}") from None
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"{path} is not a {name} that this version wrote: {reason}") from None

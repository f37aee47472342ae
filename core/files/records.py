"""Arrays and facts about them in one .npz, nothing in it pickled or compressed; read back whole, or refused in one line.

A file is looked at before a byte of its arrays is read: what they say they are must be what they have to be, and all of it must
lie on the disk. Then their digest must be the one that the file states.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy

from core.errors import InputError, first_line
from core.files.reading import open_file
from core.files.writing import atomic_path
from core.notes import one_line

Record = TypeVar("Record")
Facts = dict[str, Any]

FACTS, DIGEST = "facts", "sha256"
LARGEST_FACTS = 1 << 26  # bytes; those of a parity dump have a line for each of its trials
KINDS = "biuf"  # truth values, integers, floats


@dataclass(frozen=True)
class Header:
    """What an array says of itself before it is read."""

    dtype: np.dtype
    shape: tuple[int, ...]


Gate = Callable[[Facts, Mapping[str, Header]], None]
"""Raises ValueError for facts and arrays' headers that are not what they must be, before the arrays are read."""


def save_record(path: str | os.PathLike, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed .npz of a `kind` such as "features 1"; facts are whatever JSON can say.

    Raises OSError when it cannot be written.
    """
    facts = {"format": f"jittor-ovseg {kind}", **facts}
    arrays = {name: np.asarray(x) for name, x in arrays.items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, facts=json.dumps({**facts, DIGEST: _digest(facts, arrays)}), **arrays)


def load_record(
    path: str | os.PathLike,
    kind: str,
    name: str,
    make: Callable[[Facts, dict[str, np.ndarray]], Record],
    gate: Gate = lambda facts, headers: None,
    finite: bool = False,
) -> Record:
    """`make(facts, arrays)` of what `save_record` wrote.

    gate: what this kind of record must be, beyond arrays of numbers. finite: no infinity and no NaN. Raises InputError, with
    `name`, for a file that is of no such kind.
    """
    if not os.path.exists(path):
        raise InputError(f"no {name} {one_line(os.fspath(path))}")
    if os.path.isdir(path):
        raise InputError(f"{one_line(path)} is a folder, not a {name}")
    with open_file(path, what=f"the {name}") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return make(*_read(archive, os.fstat(file.fileno()).st_size, f"jittor-ovseg {kind}", gate, finite))
        except OSError as error:
            raise InputError(f"the {name} {one_line(path)} cannot be read: {error.strerror or error}") from None
        except MemoryError:
            raise InputError(f"the {name} {one_line(path)} cannot be read: there is not enough memory for it") from None
        except Exception as error:  # whatever the zip, NumPy and JSON readers make of other bytes, or damaged ones
            raise InputError(f"{one_line(path)} is not a {name} that this version wrote: {first_line(error)}") from None


def _read(archive: zipfile.ZipFile, size: int, kind: str, gate: Gate, finite: bool) -> tuple[Facts, dict[str, np.ndarray]]:
    """size: of the file, in bytes."""
    parts = archive.infolist()
    headers = {part.filename.removesuffix(".npy"): _header(archive, part) for part in parts}
    if len(headers) < len(parts):
        raise ValueError("two of its arrays have one name")
    if sum(part.file_size for part in parts) > size:
        raise ValueError("its arrays are larger than the file")
    facts = _facts(archive, headers)
    if facts["format"] != kind:
        raise ValueError(f"its format is {facts['format']!r}")
    odd = next((name for name, header in headers.items() if header.dtype.kind not in KINDS), None)
    if odd is not None:
        raise ValueError(f"its {odd} is an array of {headers[odd].dtype.name}, not of numbers")
    gate(facts, headers)
    arrays = {name: _array(archive, name) for name in headers}
    stated = facts.pop(DIGEST, None)
    if stated != _digest(facts, arrays):
        raise ValueError("it is damaged: its digest is another" if stated else "it states no digest of its arrays")
    broken = finite and next((name for name, x in arrays.items() if x.dtype.kind == "f" and not np.isfinite(x).all()), None)
    if broken:
        raise ValueError(f"its {broken} has values that are no finite numbers")
    return facts, arrays


def _header(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Header:
    """An array's dtype and shape. Raises ValueError where they are not those of the bytes that follow."""
    if not part.filename.endswith(".npy"):
        raise ValueError(f"it holds {part.filename}, which is no array")
    if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
        raise ValueError("it is compressed")
    with archive.open(part) as file:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"an array is of version {version} of NumPy's format")
        shape, _, dtype = read(file)
        stated = math.prod(shape) * dtype.itemsize + file.tell()
    if dtype.hasobject or any(side < 0 for side in shape) or stated != part.file_size:
        raise ValueError(f"its {part.filename.removesuffix('.npy')} is not as long as its shape says")
    return Header(dtype, tuple(shape))


def _facts(archive: zipfile.ZipFile, headers: dict[str, Header]) -> Facts:
    header = headers.pop(FACTS, None)
    if header is None:
        raise ValueError("it says no facts about its arrays")
    if header.dtype.kind != "U" or header.shape or header.dtype.itemsize > LARGEST_FACTS:
        raise ValueError("its facts are no text")
    facts = json.loads(str(_array(archive, FACTS)), parse_constant=_no_number)
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    return facts


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return npy.read_array(file, allow_pickle=False)


def _digest(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over all that a record says: the facts, and names, kinds, shapes and bytes of its arrays."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        x = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {x.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(x.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _no_number(name: str) -> float:
    raise ValueError(f"its facts say {name}, which is no number")


def require(headers: Mapping[str, Header], shapes: Mapping[str, tuple[int, ...]], dtype: str) -> None:
    """The gate for arrays of one dtype, such as "float32": these names with these shapes, no more and no fewer.

    Raises ValueError that names the first that is not so.
    """
    for name, shape in shapes.items():
        if name not in headers:
            raise ValueError(f"it lacks {name}")
        if headers[name].dtype != np.dtype(dtype):
            kind = headers[name].dtype
            raise ValueError(f"its {name} is of {kind.name if kind.isnative else kind.str}, not of {dtype}")
        if headers[name].shape != shape:
            raise ValueError(f"its {name} has the shape {headers[name].shape}, not {shape}")
    more = next((name for name in headers if name not in shapes), None)
    if more is not None:
        raise ValueError(f"it holds {more}, which is no part of it")

"""Writing files so that a half-written one never stands under its name."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there takes its place when the block ends.

    The temporary name has the same ending, so writers that look at it (Pillow, `np.savez`) do as they would. If the
    block raises, Ctrl-C included, the temporary file is removed and `path` keeps what it held.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike) -> Path:
    """Make the folder `path`, and its parents, where missing, and try that files can be written there.

    Raises InputError when it cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".tmp-{secrets.token_hex(8)}"
        trial.touch()
        trial.unlink()
    except FileExistsError:
        raise InputError(f"cannot write to {folder}: it is a file, not a folder; name another folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write to the folder {folder}: {reason}; name another folder") from None
    return folder


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text, whole or not at all. Raises InputError where it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: str | os.PathLike, record: Any) -> None:
    """Write JSON, whole or not at all. Raises InputError where it cannot be written."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

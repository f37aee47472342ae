"""Writing files so that a half-written one never stands under its name, and a set of files changes at one moment.

What is being written lies beside its place as `.tmp-...`, and its writer holds a lock on it (`flock`). Locks end with their
process, however it ends: a `.tmp-...` without one was left by a run that was killed, and the next run removes it.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.notes import one_line

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}(\..*)?", re.DOTALL)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file beside `path`, still empty; it takes that place when the block ends.

    The temporary name has the same ending, so writers that look at it (Pillow, `np.savez`) do as they would. If the
    block raises, Ctrl-C included, the temporary file is removed and `path` keeps what it held. A `path` that is such a
    temporary file already is yielded itself: whoever made it has the lock on it, and puts it in place.
    """
    path = Path(path)
    if _TEMPORARY.fullmatch(path.name):
        yield path
        return
    with _temporary(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def file_set(
    folder: str | os.PathLike, names: Sequence[str], stale: Callable[[Path], Iterable[str]] = lambda record: ()
) -> Iterator[dict[str, Path]]:
    """Yield a temporary file for each of the names; when the block ends they take their places in `folder` together.

    The last name is the set's record: a set without it is none. That of an older set goes first and the new one's comes last,
    so that a kill in between leaves files without a record, never one set's files beside another's record. One process at a
    time changes a folder's sets. stale: given the record's path, further files of the older set, which go with it.

    If anything fails, in the block or after it, the folder keeps the older set whole. Raises OSError when writing fails, and
    says so where the older set could not be put back.
    """
    folder = Path(folder)
    places = [folder / name for name in names]
    _check_places(places)
    remove_leftovers(folder)
    with ExitStack() as stack:
        temporary = {place: stack.enter_context(_temporary(place)) for place in places}
        yield {place.name: path for place, path in temporary.items()}
        with _locked_folder(folder):
            _check_places(places)
            _change(temporary, [folder / name for name in stale(places[-1]) if name not in names])


def make_folder(path: str | os.PathLike) -> Path:
    """Make the folder `path`, and its parents, where missing, and try that files can be written there.

    What killed runs left there half-written is removed. Raises InputError when the folder cannot be made or written to.
    """
    if not os.fspath(path):
        raise InputError("a folder without a name cannot be written to: name one, or . for the current folder")
    folder, name = Path(path), one_line(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(folder / "trial"):
            pass
    except FileExistsError:
        raise InputError(f"cannot write to {name}: it is a file, not a folder; name another folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write to the folder {name}: {reason}; name another folder") from None
    remove_leftovers(folder)
    return folder


def write_texts(folder: str | os.PathLike, texts: Mapping[str, str]) -> None:
    """Write texts by file name as a set, of which the last is the record (`file_set`). Raises InputError where it cannot be."""
    with _plain_errors(folder), file_set(folder, list(texts)) as temporary:
        for name, text in texts.items():
            temporary[name].write_bytes(_encoded(text))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text, whole or not at all. Raises InputError where it cannot be written."""
    with _plain_errors(path), atomic_path(path) as temporary:
        temporary.write_bytes(_encoded(text))


def write_json(path: str | os.PathLike, record: Any) -> None:
    """Write JSON, whole or not at all. Raises InputError where it cannot be written."""
    write_text(path, json_text(record))


def json_text(record: Any) -> str:
    """JSON as it is written everywhere but in the results of a picture."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def remove_leftovers(folder: Path) -> None:
    """Remove the `.tmp-...` of runs that were killed; those of a living process stay, and all where there are no locks."""
    with suppress(OSError), _locked_folder(folder):
        with os.scandir(folder) as entries:
            left = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for path in left:
            _remove_unlocked(path)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")


@contextmanager
def _plain_errors(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {one_line(path)}: {error.strerror or error}") from None


@contextmanager
def _temporary(place: Path) -> Iterator[Path]:
    """A new file beside `place`, empty and locked; when the block ends it is gone, unless it was put in its place."""
    while True:
        path = _beside(place)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # of a file system without locks, where nobody will take the file for a dead run's either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # another process removed it before it was locked
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        _unlock(handle)


def _beside(place: Path) -> Path:
    return place.with_name(f".tmp-{secrets.token_hex(8)}{place.suffix}")


def _remove_unlocked(path: str) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            _unlock(handle)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Keeps other processes, and threads, out of the folder's sets; on a file system without locks it does nothing."""
    handle = None
    try:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            _unlock(handle)


def _unlock(handle: int) -> None:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child process may have inherited the lock, which closing would leave to it
    os.close(handle)


def _check_places(places: Iterable[Path]) -> None:
    """Raises OSError where a file cannot stand, while nothing has been changed yet: a folder is there, the name is too long."""
    for place in places:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(place).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))


def _change(temporary: Mapping[Path, Path], stale: Sequence[Path]) -> None:
    """The older set out, its record first, and the new one in, its record last; or the older one back."""
    *others, record = temporary
    aside: dict[Path, Path] = {}
    try:
        for place in (record, *others, *(path for path in stale if not path.is_dir())):
            if os.path.lexists(place):
                aside[place] = _beside(place)
                os.rename(place, aside[place])
        for place, path in temporary.items():
            os.replace(path, place)
    except BaseException:
        _put_back(temporary, aside)
        raise
    for path in aside.values():
        with suppress(OSError):  # the next run removes it
            path.unlink()


def _put_back(temporary: Mapping[Path, Path], aside: Mapping[Path, Path]) -> None:
    """The older set as it was, its record last, after not all could be changed."""
    try:
        for place, path in temporary.items():
            if not os.path.lexists(path):  # it was put in its place
                place.unlink(missing_ok=True)
        for place, path in reversed(aside.items()):
            if os.path.lexists(path):
                os.replace(path, place)
    except OSError as error:
        said = f"{error.strerror or error}; what stood there before is gone"
        raise OSError(error.errno, said, str(next(reversed(temporary)))) from None

"""Reading what a person names: a regular file of bounded size, or one line that says why it cannot be read.

A FIFO would be waited for and a device such as /dev/zero never ends, so neither is opened.
"""

import json
import os
import re
import stat
from typing import Any, BinaryIO, NoReturn

from core.errors import InputError
from core.notes import one_line

TEXT_LIMIT = 1 << 26
"""Bytes of text, unless a caller knows better: 64 MiB, a million lines of 64 letters."""

KINDS = {
    stat.S_IFDIR: "a folder (directory)",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: str | os.PathLike, limit: int | None = None, what: str = "") -> BinaryIO:
    """Opens a regular file to be read in binary.

    limit: in bytes. what: stands before the path in errors, such as "classes from".

    Raises InputError for a file that is missing, closed to the user, longer than `limit`, or not a regular one.
    """
    try:
        _check_regular(os.stat(path), path, what)
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - handed to the caller open
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        _refuse(path, what, error)
    try:
        status = os.fstat(file.fileno())
        _check_regular(status, path, what)  # once more, as another file may have taken its place
        if limit is not None and status.st_size > limit:
            _refuse(path, what, f"it has {status.st_size:,} bytes, more than the limit of {limit:,}")
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: str | os.PathLike, limit: int, what: str = "") -> bytes:
    """The content of a regular file of up to `limit` bytes. Raises InputError as `open_file` does."""
    with open_file(path, limit, what) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            _refuse(path, what, error)
    if len(content or b"") > limit:  # it grew, or is one of those in /proc, whose size is 0
        _refuse(path, what, f"it has more bytes than the limit of {limit:,}")
    return content or b""


def read_text(path: str | os.PathLike, what: str = "", limit: int = TEXT_LIMIT) -> str:
    r"""UTF-8 text as people's editors write it: byte order marks are left out, and every line ends with "\n".

    Raises InputError for anything else, and as `open_file` does.
    """
    content = read_bytes(path, limit, what)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(path, what, "it is not UTF-8 text but UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(path, what, f"it is not UTF-8 text (line {line}); save it as UTF-8")
    if "\0" in text:
        _refuse(path, what, "it is not text")
    # Marks stand within a text too, where files were joined. Not splitlines(): rarer separators may be part of a name.
    return re.sub(r"\r\n?", "\n", text.replace("\ufeff", ""))


def read_lines(path: str | os.PathLike, what: str = "", limit: int = TEXT_LIMIT) -> list[str]:
    """The lines of a text, white space around each dropped; blank lines at the end are not among them.

    Raises InputError as `read_text` does.
    """
    text = read_text(path, what, limit).rstrip()
    return [line.strip() for line in text.split("\n")] if text else []


def read_json(path: str | os.PathLike, what: str = "", limit: int = TEXT_LIMIT) -> Any:
    """What a JSON file says. Raises InputError for what the standard does not know, such as NaN, and as `read_text` does."""
    text = read_text(path, what, limit)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is not JSON: {error}"
        _refuse(path, what, reason)


def _open_without_waiting(path: str, flags: int) -> int:
    """For a FIFO or a terminal that takes a file's place after it was looked at; to a file these flags mean nothing."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _check_regular(status: os.stat_result, path: str | os.PathLike, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        _refuse(path, what, f"it is {kind}, not a regular file")


def _refuse(path: str | os.PathLike, what: str, reason: object) -> NoReturn:
    if isinstance(reason, PermissionError):
        reason = "permission denied"
    elif isinstance(reason, OSError):
        reason = reason.strerror or reason
    subject = " ".join(filter(None, (what, one_line(os.fspath(path)))))
    raise InputError(f"cannot read {subject}: {one_line(reason)}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")

"""A run's journal: what was measured of each picture, kept so that a run that was killed goes on where it stopped.

The first line is the run's configuration; every other is one picture with its confusion matrix, of which only the entries
above 0 are written. They are integers, so the figures come out the very same however often a run was cut. Each line ends
with a checksum of itself and the configuration: what does not fit it is not believed, and measured again.
"""

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

import numpy as np

from core.errors import InputError

MOST_PIXELS = 1 << 40
"""Of one class in one picture, and far more than a picture has: sums of these fit 64 bits."""

BEGINS = b'{"configuration": {'
"""How a journal begins, whatever its configuration."""

CHECK = b', "check": "'
LONGEST = 1 << 24  # bytes of the first line


class Journal:
    """The journal at `path`, new or gone on with; one process at a time has it.

    configuration: all that decides the figures, ready for JSON. pictures: the names that it may hold; None for any. `matrix`
    (C, C) int64 is the sum over the pictures `done`, which are names and digests of their files. restart: forget what is there.

    A last line that is not whole, cut by a kill, is dropped. So is one that is damaged, of a picture that is not among
    `pictures` or that another line has: `n_damaged` counts them, and their pictures are not among `done`.

    Raises InputError for a journal of another configuration, with what differs; for a file that is no journal, which is left as
    it is, with `restart` too; and for one that is in use, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        configuration: Mapping[str, Any],
        n_classes: int,
        restart: bool = False,
        pictures: Collection[str] | None = None,
    ) -> None:
        self.path, self.n_classes = path, n_classes
        self.matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
        self.done: dict[str, str] = {}
        self.n_damaged = 0
        self._pictures = pictures if pictures is None else frozenset(pictures)
        # What JSON makes of it, as that is what an earlier run's has become.
        self._configuration = json.loads(json.dumps(configuration))
        self._run = _body({"configuration": self._configuration})
        self._file = _open_locked(path)
        try:
            self._start(restart)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file, and give it free."""
        with suppress(OSError):  # of a full disk, already told of: every line is flushed when it is written
            self._file.close()

    def add(self, name: str, matrix: np.ndarray, files: str = "") -> None:
        """Keep the confusion matrix (C, C) of a picture and a digest of its `files`; the system has it when this returns."""
        truth, label = np.nonzero(matrix)
        pixels = matrix[truth, label]
        counts = {"truth": truth.tolist(), "label": label.tolist(), "pixels": pixels.tolist()}
        self._write(self._line(_body({"picture": name, "files": files, **counts})))
        self.matrix += matrix
        self.done[name] = files

    def _start(self, restart: bool) -> None:
        """Take what the file has, and leave it at its end, without what cannot be taken."""
        header = self._line(self._run)
        try:
            first = self._file.readline(LONGEST)
            if restart and _may_begin(first):
                first = b""
            lines = self._file.readlines() if first.endswith(b"\n") else []
        except OSError as error:
            self._fail(error)
        if not header.startswith(first):
            self._check_header(first, lines)
        whole = [line for line in lines if line.endswith(b"\n")]
        sound = [line for line in whole if self._take(line)]
        self.n_damaged = len(whole) - len(sound) + (first.endswith(b"\n") and first != header)
        self._put([first, *lines], [header, *sound])

    def _check_header(self, first: bytes, lines: Sequence[bytes]) -> None:
        """Raises InputError where the first line is another's; one that is damaged is told by the others."""
        record = _parsed(first) if first.endswith(b"\n") else None
        theirs = record.get("configuration") if isinstance(record, dict) else None
        if not isinstance(theirs, dict):
            if any(map(self._fits, lines)):
                return
            advice = ", or, if it was one, begin anew with --restart" if _may_begin(first) else ""
            raise InputError(f"{self.path} is not a journal of an evaluation: name another folder with --out{advice}")
        changes = list(differences(theirs, self._configuration))
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise InputError(
                f"{self.path} is of another run: {'; '.join(changes[:3])}{more}; begin anew with --restart, or name another "
                "folder with --out"
            )

    def _take(self, line: bytes) -> bool:
        """Count a picture that an earlier run measured, if the line is what that run wrote."""
        record = _parsed(line) if self._fits(line) else None
        if not isinstance(record, dict):
            return False
        name, files = record.get("picture"), record.get("files")
        counts = [record.get(key) for key in ("truth", "label", "pixels")]
        if not (isinstance(name, str) and isinstance(files, str) and self._are_counts(*counts)):
            return False
        if name in self.done or (self._pictures is not None and name not in self._pictures):
            return False
        truth, label, pixels = counts
        self.matrix[truth, label] += np.array(pixels, dtype=np.int64)
        self.done[name] = files
        return True

    def _are_counts(self, truth: object, label: object, pixels: object) -> bool:
        """Whether these say how many pixels each pair of classes has, in the order of a matrix."""
        if not all(isinstance(x, list) and all(type(n) is int for n in x) for x in (truth, label, pixels)):
            return False
        if not len(truth) == len(label) == len(pixels):
            return False
        classes = all(0 <= n < self.n_classes for n in (*truth, *label))
        ordered = all(a < b for a, b in pairwise(zip(truth, label, strict=True)))
        return classes and ordered and all(0 < n < MOST_PIXELS for n in pixels)

    def _line(self, body: bytes) -> bytes:
        """A record's line: its JSON, at whose end the checksum is put."""
        check = hashlib.sha256(self._run + b"\n" + body).hexdigest()[:16]
        return body[:-1] + CHECK + f'{check}"}}\n'.encode()

    def _fits(self, line: bytes) -> bool:
        """Whether a line's checksum is its own, of this configuration."""
        return line == self._line(line.rpartition(CHECK)[0] + b"}")

    def _put(self, old: Sequence[bytes], new: Sequence[bytes]) -> None:
        """The new lines in place of the old; what a kill cuts off here is measured again."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        end = sum(map(len, new[:same]))
        try:
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            self._fail(error)
        self._write(b"".join(new[same:]))

    def _write(self, lines: bytes) -> None:
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        raise InputError(f"cannot write the journal {self.path}: {error.strerror or error}") from None


def _body(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", errors="backslashreplace")


def _parsed(line: bytes) -> Any:
    """What a line says; None for one that says nothing in JSON."""
    try:
        return json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _may_begin(first: bytes) -> bool:
    """Whether a first line, which may be cut, can be a journal's."""
    return first.startswith(BEGINS) or BEGINS.startswith(first)


def differences(theirs: Any, ours: Any, name: str = "") -> Iterator[str]:
    """What differs between two configurations, each as `NAME was A, now B`."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
    elif theirs != ours:
        yield f"{name} was {_short(theirs)}, now {_short(ours)}"


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _open_locked(path: Path) -> BinaryIO:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise InputError(f"cannot write the journal {path}: {error.strerror or error}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"cannot write the journal {path}: it is no regular file")
    file = os.fdopen(handle, "r+b")
    try:
        # A lock of this process alone: it ends with it, even by SIGKILL, and no child of it holds on to it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(f"another run is writing {path}: wait for it, or name another folder with --out") from None
        raise InputError(f"cannot lock the journal {path}: {error.strerror or error}") from None
    return file

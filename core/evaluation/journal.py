"""A run's journal: what was measured of each picture, kept so that a run that was killed goes on where it stopped.

The first line is the run's configuration; every other is one picture with its confusion matrix, of which only the entries
above 0 are written. They are integers, so the figures come out the very same however often a run was cut.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from core.errors import InputError


class Journal:
    """The journal at `path`, new or gone on with; one process at a time has it.

    configuration: all that decides the figures, ready for JSON. `matrix` (C, C) int64 is the sum over the pictures `done`,
    which are names and digests of their files.
    restart: forget what is there.

    A last line that is not whole, cut by a kill, is dropped. Raises InputError for a journal of another configuration, with
    what differs, for one that is damaged elsewhere, in use, or cannot be written.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any], n_classes: int, restart: bool = False) -> None:
        self.path, self.n_classes = path, n_classes
        self.matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
        self.done: dict[str, str] = {}
        self._file = _open_locked(path)
        try:
            if restart:
                self._file.truncate(0)
            # What JSON makes of it, as that is what an earlier run's has become.
            self._start(json.loads(json.dumps(configuration)))
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
        self._write({"picture": name, "files": files, **counts})
        self.matrix += matrix
        self.done[name] = files

    def _start(self, configuration: dict[str, Any]) -> None:
        lines = self._whole_lines()
        header = next(lines, None)
        if header is None:
            self._write({"configuration": configuration})
            return
        if not isinstance(header.get("configuration"), dict):
            raise InputError(f"{self.path} is not a journal of an evaluation; name another folder with --out")
        changes = list(differences(header["configuration"], configuration))
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise InputError(
                f"{self.path} is of another run: {'; '.join(changes[:3])}{more}; begin anew with --restart, or name another "
                "folder with --out"
            )
        for number, line in enumerate(lines, start=2):
            self._take(line, number)

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        """The lines, parsed; a last one without its end is cut off, and the file is left at its end for writing."""
        self._file.seek(0)
        end = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                parsed = json.loads(line)
            except ValueError:
                parsed = None
            if not isinstance(parsed, dict):
                raise self._damaged(number)
            yield parsed
        self._file.truncate(end)
        self._file.seek(end)

    def _take(self, line: dict[str, Any], number: int) -> None:
        """Count a picture that an earlier run measured."""
        try:
            truth, label, pixels = (np.array(line[key], dtype=np.int64) for key in ("truth", "label", "pixels"))
            name, files = str(line["picture"]), str(line["files"])
            sound = name not in self.done and truth.shape == label.shape == pixels.shape
            sound = sound and min(truth.min(initial=0), label.min(initial=0), pixels.min(initial=0)) >= 0
            np.add.at(self.matrix, (truth, label), pixels)
        except (KeyError, TypeError, ValueError, IndexError):
            sound = False
        if not sound:
            raise self._damaged(number)
        self.done[name] = files

    def _damaged(self, number: int) -> InputError:
        return InputError(f"line {number} of the journal {self.path} is damaged: begin anew with --restart")

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", errors="backslashreplace") + b"\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"cannot write the journal {self.path}: {error.strerror or error}") from None


def differences(theirs: Any, ours: Any, name: str = "") -> Iterator[str]:
    """What differs between two configurations, each as `NAME was A, now B`."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
    elif theirs != ours:
        yield f"{name} was {_short(theirs)}, now {_short(ours)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _open_locked(path: Path) -> BinaryIO:
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
    except OSError as error:
        raise InputError(f"cannot write the journal {path}: {error.strerror or error}") from None
    try:
        # A lock of this process alone: it ends with it, even by SIGKILL, and no child of it holds on to it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(f"another run is writing {path}: wait for it, or name another folder with --out") from None
        raise InputError(f"cannot lock the journal {path}: {error.strerror or error}") from None
    return file

"""The standard streams made fit for a command: closed ones, full disks, readers that have left, notebooks' own."""

import io
import os
import sys
from contextlib import suppress


class _Forgiving(io.TextIOWrapper):
    """An error stream that loses what cannot be written, as on a full disk: it would be a pity about the run's work."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            super().flush()


def ready_streams() -> None:
    """Makes sure that the streams can be written to; to do so again changes nothing.

    A descriptor 0, 1 or 2 that is closed leads nowhere from now on; the first file opened would get its number, and what
    libraries write there raw. Lines appear when they are printed, and a character that the stream's encoding lacks is escaped,
    where the stream is a file; one that is not, such as a notebook's or an `io.StringIO`, stays as it is.
    """
    for number in range(3):
        _keep_open(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - as long as the process
    if sys.stderr is sys.__stderr__ and type(sys.stderr) is io.TextIOWrapper:
        with suppress(OSError, ValueError):  # one that was closed, or has no descriptor
            raw = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
            sys.stderr = _Forgiving(io.BufferedWriter(raw), encoding=sys.stderr.encoding)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError, TypeError):
                stream.reconfigure(errors="backslashreplace", line_buffering=True)


def give_up_output() -> None:
    """Lets what was printed and not yet written go nowhere: else Python tries once more at its end, and complains."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def output_is_lost() -> bool:
    """Whether what was printed cannot be written, as on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _keep_open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)

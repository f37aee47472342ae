"""What the commands have in common: options, one-line errors, and how a run ends."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from core.errors import InputError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with exit code 2."""
        self.exit(2, f"error: {message} (--help lists all options)\n")


def add_switch(group: Any, name: str, text: str) -> None:
    """Add `--NAME` and `--no-NAME`, of which neither is the default."""
    group.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=text)


def whole_number(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def name_and_value(text: str) -> tuple[str, Any]:
    """`gaussian_std=5` -> ("gaussian_std", 5); values are numbers, true, false, text, or several joined by commas."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    values = tuple(one_value(part) for part in value.split(","))
    return name, values if len(values) > 1 else values[0]


def one_value(text: str) -> bool | int | float | str:
    """A number, true or false, or else the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if kind is float and not math.isfinite(number):
            raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
        return number
    return text


def exit_code(run: Callable[[], int], interrupted: str = "interrupted") -> int:
    """What `run` gives, or the code of how it ended: 2 and one line for bad input, 130 for Ctrl-C, 141 for a closed pipe.

    A name that the terminal cannot write does not end the run.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None is one that was closed
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        return run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has left, as `head` does; what is still unwritten must go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141

"""What the commands have in common: options, one-line errors, and how a run ends."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from core.commands.streams import give_up_output, output_is_lost, ready_streams
from core.errors import InputError, first_line, lacks_memory
from core.methods.compose import PARTS
from core.methods.registry import METHODS
from core.notes import one_line
from core.segment.settings import KINDS, SAYS

MODEL = ("model", "pretrained", "quick_gelu", "device", "precision")
"""The options of `add_model`, which are the Segmenter's keywords."""


MOST = 1500
"""Characters of an error, at most: words and names of any length stand in it."""

PATH_MOST = 5000
"""Characters of a path that is printed, more than a system takes: it is there to be copied."""

UNFORESEEN = (OSError, UnicodeError, OverflowError, RecursionError, MemoryError)
"""What odd names, places and numbers may still raise where nobody has thought of them."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As it is, with streams that can be written to."""
        ready_streams()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with exit code 2."""
        self.exit(2, f"error: {one_line(message, MOST)} (--help lists all options)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """What argparse prints, the help above all: to a closed pipe or a full disk as any other output."""

        def write() -> int:
            (file or sys.stderr).write(message)
            return 0

        if code := exit_code(write):
            sys.exit(code)


def add_model(group: Any) -> None:
    """The options that choose the CLIP and where it computes."""
    group.add_argument("--model", metavar="NAME", help='open_clip model such as ViT-B-16 (default: "embedded")')
    group.add_argument("--pretrained", metavar="TAG|FILE", help="weights: open_clip's tag such as openai, or a file")
    add_switch(group, "--quick-gelu", "QuickGELU, or not, in a model from a file (default: as the weights need)")
    group.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where it can be used")
    group.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="of the image tower's products (default: fp32)")


def add_method(group: Any, default: str | None = "naclip") -> None:
    """`--method`, which a command may have without a default of its own."""
    names = f"{', '.join(METHODS)}; or BASE+PART of {', '.join(PARTS)}"
    group.add_argument("--method", default=default, metavar="NAME", help=f"{names} (default: naclip)")


def add_settings(group: Any) -> None:
    """An option for each setting of `core.segment.settings`, and `--option` for the method's own; none has a default here."""
    group.add_argument("--option", action="append", default=[], type=name_and_value, metavar="NAME=VALUE",
                       help="an option of the method, such as gaussian_std=5; may be repeated")  # fmt: skip
    for name, kind in KINDS.items():
        flag = f"--{name.replace('_', '-')}"
        if kind.metavar:
            group.add_argument(flag, type=_reader(name), metavar=kind.metavar, help=SAYS[name])
        else:
            add_switch(group, flag, SAYS[name])


def _reader(name: str) -> Callable[[str], Any]:
    """What makes a setting's value of a word."""
    kind = KINDS[name]

    def read(text: str) -> Any:
        try:
            value = text if kind.text is None else kind.text(text)
            allowed = kind.check(value)
        except ValueError:
            allowed = False
        if not allowed:
            raise argparse.ArgumentTypeError(f"it must be {kind.says}, not {text!r}")
        return value

    return read


def chosen(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def add_switch(group: Any, name: str, text: str) -> None:
    """Add `--NAME` and `--no-NAME`, of which neither is the default."""
    group.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=text)


def a_path(text: str) -> str:
    """The name of a file or a folder; an empty one would pass for the current folder, or for none."""
    if not text:
        raise argparse.ArgumentTypeError("it must name a file or a folder, not ''")
    return text


def a_file(text: str) -> Path:
    """The same as a Path."""
    return Path(a_path(text))


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

    A place that cannot be read or written, the output's too, is bad input, even where nobody has foreseen it. Any other error
    is a bug, and keeps its traceback. A name that the terminal cannot write does not end the run.
    """
    ready_streams()
    try:
        code = run()
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"error: {one_line(error, MOST)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        give_up_output()
        return 141
    except UNFORESEEN as error:
        lost = output_is_lost()
        if lost:
            give_up_output()
        said = f"the output cannot be written: {error.strerror}" if lost and isinstance(error, OSError) else _cause(error)
        print(f"error: {one_line(said, MOST)}", file=sys.stderr)
        return 2


def _cause(error: Exception) -> str:
    if lacks_memory(error):
        return "there is not enough memory"
    if not isinstance(error, OSError) or error.strerror is None:
        return first_line(error)
    name = error.filename if error.filename2 is None else error.filename2
    if name is None:
        return f"reading or writing failed: {error.strerror}"
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {error.strerror}"

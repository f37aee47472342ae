"""Measure what this costs: ratios to the textbook forms and to the backbone, memory, and how both grow.

python scripts/benchmark.py --json benchmark.json
python scripts/benchmark.py --only pamr lof --backends jittor --repeat 15
python scripts/benchmark.py --growth growth.png
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from benchmarking.growth import as_record, measure_growth
from benchmarking.growth import text_line as growth_line
from benchmarking.lines import Line, markdown_table, text_line
from benchmarking.machine import describe_run, summary_lines
from benchmarking.measure import Disagreement
from benchmarking.plot import check_matplotlib, draw
from benchmarking.rows import ROWS
from benchmarking.settings import MODEL, Settings

from core.backends import PACKAGES, load_backend
from core.commands.options import OneLineParser, a_file, chosen, exit_code, whole_number
from core.errors import InputError, first_line, lacks_memory
from core.files.writing import make_folder, write_json

EPILOG = """\
Each figure is a ratio of medians, the competitors called in turns in one process, the textbook forms after the others, since
the gigabytes that they leave behind slow down what follows. A call of more than 0.5 s is timed three times, one of more than
12 s once. Memory is measured in a process of its own. All rows together take some minutes.
Exit code: 0 when all was measured, whether targets are met or not; 1 when two forms of a computation disagreed; 2 when the
call was bad or a row failed.
"""
SIDES = ("picture", "grid")


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = OneLineParser(
        prog="benchmark.py", description=__doc__.splitlines()[0], epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    what = parser.add_argument_group("what").add_mutually_exclusive_group()
    what.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"rows: {', '.join(ROWS)} (default: all)")
    what.add_argument("--list", action="store_true", help="say what each row measures, and leave")
    what.add_argument("--growth", type=a_file, metavar="FILE.png",
                      help="measure and draw how time and memory grow, instead of the rows")  # fmt: skip
    how = parser.add_argument_group("how")
    how.add_argument("--backends", nargs="+", choices=PACKAGES, metavar="NAME",
                     help=f"of {', '.join(PACKAGES)} (default: all that are installed)")  # fmt: skip
    how.add_argument("--device", choices=("cpu", "cuda"), help="where PyTorch and Jittor compute (default: cpu)")
    how.add_argument("--picture", type=two_sides, metavar="HxW", help="pixels of the picture (default: 375x500)")
    how.add_argument("--classes", type=whole_number, metavar="C", help="classes (default: 21)")
    how.add_argument("--tokens", type=whole_number, metavar="N", help="tokens of LOF (default: 2048)")
    how.add_argument("--width", type=whole_number, metavar="D", help="width of the tokens (default: 768)")
    how.add_argument("--grid", type=two_sides, metavar="HxW", help="places of FSA's external model (default: 42x42)")
    how.add_argument("--repeat", type=whole_number, metavar="N", help="timed calls of each (default: 7)")
    how.add_argument("--model", metavar="NAME", help=f"open_clip tower, with random weights; or embedded (default: {MODEL})")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=a_file, metavar="FILE", help="write all figures here, every call's time too")
    output.add_argument("--markdown", action="store_true", help="print the table in Markdown at the end")
    return parser


def two_sides(text: str) -> tuple[int, int]:
    """"375x500" as (375, 500)."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not two whole numbers such as 375x500")
    return int(height), int(width)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code."""
    arguments = make_parser().parse_args(argv)
    return exit_code(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """List the rows, measure them, or measure and draw how cost grows."""
    if arguments.list:
        print("\n".join(f"{name:14s} {row.__doc__.splitlines()[0]}" for name, row in ROWS.items()))
        return 0
    settings = choose_settings(arguments)
    check_outputs(arguments)
    with text_cache():
        return growth(arguments, settings) if arguments.growth else table(arguments, settings)


def choose_settings(arguments: argparse.Namespace) -> Settings:
    """The settings, those not given being the defaults. Raises InputError for sizes that cannot be."""
    names = ("picture", "classes", "tokens", "width", "grid", "repeat", "device", "model")
    settings = Settings(**chosen(arguments, names))
    for name, least in (("picture", 32), ("grid", 2), ("classes", 1), ("tokens", 2), ("repeat", 1)):
        value = getattr(settings, name)
        if min(value if isinstance(value, tuple) else (value,)) < least:
            raise InputError(f"--{name} must be at least {least}{' along each side' if isinstance(value, tuple) else ''}")
    if settings.width < 64 or settings.width % 64:
        raise InputError(f"--width must be a multiple of 64, the width of a head, not {settings.width}")
    return Settings(**vars(settings) | {"backends": usable_backends(arguments.backends)})


def usable_backends(asked: Sequence[str] | None) -> list[str]:
    """The backends to measure; one that is not installed is named and left out, or an error where it was asked for."""
    usable = []
    for name in Settings.backends:
        if asked is not None and name not in asked:
            continue
        try:
            load_backend(name)
            usable.append(name)
        except InputError as error:
            if asked is not None:
                raise
            print(f"note: left out: {error}", file=sys.stderr)
    return usable


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raises InputError when what is measured could not be written, before anything is."""
    for path in (arguments.json, arguments.growth):
        if path is not None:
            if path.is_dir():
                raise InputError(f"cannot write {path}: it is a folder; name a file")
            make_folder(path.parent)
    if arguments.growth:
        check_matplotlib()


@contextmanager
def text_cache() -> Iterator[None]:
    """Keeps the text embeddings of random weights out of the user's cache."""
    before = os.environ.get("JITTOR_OVSEG_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JITTOR_OVSEG_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["JITTOR_OVSEG_CACHE"]
            else:
                os.environ["JITTOR_OVSEG_CACHE"] = before


def table(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure the rows, print each line as it comes; what was measured is reported whatever happens after."""
    for ops in settings.ops():
        ops.select_device(settings.device)
    about = describe_run(settings.backends)
    print("\n".join([*summary_lines(about), ""]))
    lines, errors, code = [], {}, 2
    try:
        for name in arguments.only or ROWS:
            try:
                for line in ROWS[name](settings):
                    lines.append(line)
                    print(text_line(line))
            except Disagreement:
                raise
            except Exception as error:
                errors[name] = one_line(error)
                print(f"error: {name}: {errors[name]}", file=sys.stderr)
        code = 2 if errors else 0
    except Disagreement as error:
        errors[name], code = str(error), 1
        print(f"error: stopped: {error}", file=sys.stderr)
    finally:
        report(arguments, settings, about, lines, errors)
    return code


def one_line(error: Exception) -> str:
    """What went wrong, for a person."""
    if lacks_memory(error):
        return "there is not enough memory for it: give smaller sizes"
    return str(error) if isinstance(error, InputError) else first_line(error)


def report(
    arguments: argparse.Namespace, settings: Settings, about: dict[str, Any], lines: Sequence[Line], errors: dict[str, str]
) -> None:
    """The verdict, the table in Markdown and the JSON, as far as they are wanted."""
    missed = [line.what for line in lines if line.met is False]
    print(f"\n{sum(line.met is not None for line in lines)} figures with a target, {len(missed)} missed")
    if arguments.markdown:
        print(f"\n{markdown_table(lines)}")
    if arguments.json:
        rows = [line.record() for line in lines]
        write_json(arguments.json, {**about, "settings": vars(settings), "rows": rows, "errors": errors})
        print(arguments.json)


def growth(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure the series, print each point as it comes, draw them."""
    about = describe_run(settings.backends)
    print("\n".join([*summary_lines(about), ""]))
    points, error = [], None
    try:
        for point in measure_growth(settings.backends):
            points.append(point)
            print(growth_line(point))
    except RuntimeError as failure:
        error = str(failure)
        print(f"error: {error}", file=sys.stderr)
    if arguments.json:
        write_json(arguments.json, {**about, "growth": as_record(points), "errors": {"growth": error} if error else {}})
    if points:
        draw(points, arguments.growth, f"{about['machine']['cpu']}, {about['machine']['cores']} cores, {about['date']}")
        print(arguments.growth)
    return 2 if error else 0


if __name__ == "__main__":
    sys.exit(main())

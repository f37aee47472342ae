"""Compare the backends on the same inputs: `python scripts/parity.py`, `parity.py dump`, `parity.py compare A.npz B.npz`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.backends import PACKAGES, load_backend
from core.clip.features import ClipFeatures
from core.commands.options import (
    MODEL,
    PATH_MOST,
    OneLineParser,
    a_path,
    add_method,
    add_model,
    add_settings,
    chosen,
    exit_code,
)
from core.errors import InputError
from core.files.writing import make_folder, write_json, write_text
from core.methods.registry import resolve_options
from core.notes import one_line
from core.parity.cases.catalogue import DTYPES, Case, choose_cases, feature_cases, seeded_cases
from core.parity.comparison import Row, compare_all
from core.parity.dumps import load_pair, save_dump
from core.parity.own_picture import run_picture
from core.parity.report.page import report_page
from core.parity.report.table import passed, record, summary_lines, table_lines
from core.parity.runs import Run, run_cases
from core.progress import Progress
from core.segment.pictures import read_picture
from core.segment.settings import KINDS

DESCRIPTION = """\
Compare the backends on the same inputs: every primitive and every method, each pair of backends, float32 and float64.

  parity.py [options]            seeded inputs through every backend that is installed
  parity.py --picture FILE --classes CLASS... [options]
                                 your own picture and model: patch embeddings, logits, labels
  parity.py dump --backend NAME --out FILE [options]
                                 what one backend makes of the inputs, for another machine to compare
  parity.py compare A.npz B.npz [options]
                                 two dumps
"""
EXAMPLES = """\
examples:
  python scripts/parity.py --html parity.html
  python scripts/parity.py --backends numpy torch --only "naclip*" pamr
  python scripts/parity.py --picture cat.jpg --classes cat wall --model ViT-B-16 --pretrained openai --method scclip
  python scripts/parity.py dump --backend jittor --out jittor.npz         # on a machine without PyTorch
  python scripts/parity.py dump --backend torch --out torch.npz           # on one without Jittor
  python scripts/parity.py compare torch.npz jittor.npz --html parity.html

Differences are relative to the largest entry of the first of a pair. Exit code: 0 when all is within tolerance, 1 when not,
2 when the call was bad.
"""
SETTINGS = (*MODEL, *KINDS)  # what --picture hands on to the Segmenter, beside the method's options


def make_parser(command: str, usage: str) -> OneLineParser:
    """A parser with the description and examples of all three commands."""
    return OneLineParser(
        prog=command,
        usage=f"{command} {usage}",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_cases(parser: argparse.ArgumentParser) -> None:
    """The options that choose what is run."""
    parser.add_argument("--only", nargs="+", metavar="NAME", help='cases by name, or by pattern such as "naclip*"')
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, metavar="DTYPE",
                        help="float32, float64 (default: both)")  # fmt: skip


def add_reports(parser: argparse.ArgumentParser) -> None:
    """The options that say where the report goes."""
    parser.add_argument("--json", type=a_path, metavar="FILE", help="write all figures here")
    parser.add_argument("--html", type=a_path, metavar="FILE", help="draw the differences in this self-contained page")


def report_parser() -> OneLineParser:
    """`parity.py` itself."""
    parser = make_parser("parity.py", "[--backends NAME...] [--only NAME...] [options]")
    parser.add_argument("--backends", nargs="+", choices=PACKAGES, metavar="NAME",
                        help=f"two or three of {', '.join(PACKAGES)} (default: all that are installed)")  # fmt: skip
    add_cases(parser)
    parser.add_argument("--list", action="store_true", help="name the cases and leave")
    add_reports(parser)
    picture = parser.add_argument_group("your own picture")
    picture.add_argument("--picture", type=a_path, metavar="FILE",
                         help="compare the heads on this picture instead of seeded inputs")  # fmt: skip
    picture.add_argument("--classes", nargs="+", metavar="CLASS", help='class names; "sofa,couch" joins synonyms')
    add_model(picture)
    add_method(picture, default=None)
    add_settings(picture)
    return parser


def dump_parser() -> OneLineParser:
    """`parity.py dump`."""
    parser = make_parser("parity.py dump", "--backend NAME --out FILE|DIR [options]")
    parser.add_argument("--backend", choices=PACKAGES, required=True, metavar="NAME", help=", ".join(PACKAGES))
    parser.add_argument("--out", type=a_path, required=True, metavar="FILE|DIR",
                        help="an .npz file, or a folder for parity-BACKEND.npz")  # fmt: skip
    parser.add_argument("--features", type=a_path, metavar="FILE",
                        help="run the methods on what `segment.py --save-features` wrote, not on seeded inputs")  # fmt: skip
    add_cases(parser)
    return parser


def compare_parser() -> OneLineParser:
    """`parity.py compare`."""
    parser = make_parser("parity.py compare", "A.npz B.npz [--json FILE] [--html FILE]")
    parser.add_argument("dumps", nargs=2, metavar="DUMP", help="files that dump wrote; the first is the reference")
    add_reports(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    command = argv.pop(0) if argv and argv[0] in COMMANDS else ""
    make, execute = COMMANDS[command]
    arguments = make().parse_args(argv)
    return exit_code(lambda: execute(arguments))


def report_command(arguments: argparse.Namespace) -> int:
    """Run the cases, or the picture, on every backend and report; 1 beyond tolerance."""
    if arguments.list:
        for case in choose_cases(seeded_cases(), arguments.only):
            print(f"{case.name:36s} {case.about.group}")
        return 0
    check_outputs(arguments)
    if arguments.picture:
        return picture_command(arguments)
    given = [name for name in ("classes", "method", *SETTINGS, "option") if getattr(arguments, name) not in (None, [])]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} goes with a picture of your own: give --picture too")
    cases = choose_cases(seeded_cases(), arguments.only)
    backends = usable_backends(arguments.backends)
    runs = [run_backend(name, cases, arguments.dtypes, complete=arguments.only is None) for name in backends]
    return report(arguments, runs, compare_all(runs), {})


def picture_command(arguments: argparse.Namespace) -> int:
    """`--picture`: one pass of the tower, every backend's head on it."""
    if not arguments.classes or arguments.only:
        raise InputError("--picture needs --classes, the words to look for, and takes no --only")
    method, options = arguments.method or "naclip", dict(arguments.option)
    resolve_options(method, options)
    image = read_picture(arguments.picture)
    backends, dtypes = usable_backends(arguments.backends), sorted(set(arguments.dtypes))
    settings = chosen(arguments, SETTINGS) | options
    runs, results = run_picture(image, arguments.classes, backends, dtypes, method, **settings)
    more = {"picture": arguments.picture, "classes": arguments.classes, "method": method, **settings}
    return report(arguments, runs, compare_all(runs), more, results)


def dump_command(arguments: argparse.Namespace) -> int:
    """`dump`: what one backend makes of the inputs."""
    path = Path(arguments.out)
    if path.suffix != ".npz":
        path = path / f"parity-{arguments.backend}.npz"
    make_folder(path.parent)
    cases = feature_cases(ClipFeatures.load(arguments.features)) if arguments.features else seeded_cases()
    complete = arguments.only is None and not arguments.features
    run = run_backend(arguments.backend, choose_cases(cases, arguments.only), arguments.dtypes, complete)
    save_dump(run, path)
    dtypes = " and ".join(sorted(set(arguments.dtypes)))
    print(f"{one_line(path, PATH_MOST)}: {len(run.about)} cases on {arguments.backend}, {dtypes}")
    for key, error in run.errors.items():
        print(f"error: {', '.join(key)}: {one_line(error)}", file=sys.stderr)
    return 1 if run.errors else 0


def compare_command(arguments: argparse.Namespace) -> int:
    """`compare`: two dumps."""
    check_outputs(arguments)
    runs = load_pair(arguments.dumps)
    return report(arguments, runs, compare_all(runs), {"dumps": arguments.dumps})


COMMANDS: dict[str, tuple[Callable[[], OneLineParser], Callable[[argparse.Namespace], int]]] = {
    "": (report_parser, report_command),
    "dump": (dump_parser, dump_command),
    "compare": (compare_parser, compare_command),
}


def usable_backends(asked: Sequence[str] | None) -> list[str]:
    """The backends to compare, in the order of `PACKAGES`; one that is not installed is named and left out.

    Raises InputError when it was asked for by name, or fewer than two are left.
    """
    names = []
    for name in PACKAGES:
        if asked is not None and name not in asked:
            continue
        try:
            load_backend(name)
        except InputError as error:
            if asked is not None:
                raise
            print(f"note: left out: {one_line(error)}", file=sys.stderr)
        else:
            names.append(name)
    if len(names) < 2:
        raise InputError(f"a comparison needs two backends and there is {' '.join(names) or 'none'}: name two, or install one")
    return names


def run_backend(name: str, cases: Sequence[Case], dtypes: Sequence[str], complete: bool) -> Run:
    """The cases on a backend, with their progress."""
    ops = load_backend(name)
    if name == "jittor":
        print("note: Jittor compiles its kernels at the first run, which takes some minutes", file=sys.stderr)
    return run_cases(ops, with_progress(cases, name), sorted(set(dtypes)), complete)


def with_progress(cases: Sequence[Case], name: str) -> Iterator[Case]:
    """The cases one after another, counted on the error stream."""
    progress = Progress(len(cases), unit="case", what=name)
    for case in cases:
        yield case
        progress.step()
    progress.close()


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raises InputError when the report could not be written, before anything is computed."""
    for name in (arguments.json, arguments.html):
        if name is not None:
            if Path(name).is_dir():
                raise InputError(f"cannot write {name}: it is a folder; name a file")
            make_folder(Path(name).parent)


def report(
    arguments: argparse.Namespace, runs: Sequence[Run], rows: Sequence[Row], more: dict[str, Any], results: Any = None
) -> int:
    """Print the table, write JSON and HTML where asked for; 0 within tolerance, 1 beyond."""
    print("\n".join([*table_lines(rows), *summary_lines(rows)]))
    if arguments.json is not None:
        write_json(arguments.json, record(runs, rows, more))
        print(one_line(arguments.json, PATH_MOST))
    if arguments.html is not None:
        write_text(arguments.html, report_page(runs, rows, results))
        print(one_line(arguments.html, PATH_MOST))
    return 0 if passed(rows) else 1

"""Segment pictures by words: `python scripts/segment.py PICTURE... --classes cat "sofa,couch" wall`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from command_line import OneLineParser, add_switch, exit_code, name_and_value, whole_number

from core.backends import PACKAGES
from core.clip.features import ClipFeatures
from core.clip.saved import picture_features
from core.errors import InputError, lacks_memory
from core.explain.look import check_place, explain
from core.files.writing import make_folder
from core.methods import METHODS, check_method
from core.methods.compose import OPTIONS as PARTS
from core.results.overlay import percentage
from core.segment.pictures import read_picture
from core.segment.query import ClassList, parse_classes, read_classes_file

DESCRIPTION = "Label every pixel of pictures with one of the classes that you name."
EXAMPLES = """\
examples:
  python scripts/segment.py scene.png --classes "red circle" "green square" grass --pamr
  python scripts/segment.py *.jpg --classes cat "sofa,couch" wall --model ViT-B-16 --pretrained openai --out labelled
  python scripts/segment.py cat.jpg --classes-file voc21.txt --method sclip --backend torch --window 224 --stride 112

For each picture STEM_overlay.png, STEM_labels.png and STEM.json are written; with --scores STEM_scores.npz; with --explain
STEM_attention.png and, where the method has them, STEM_outliers.png, STEM_repair.png and STEM_feedback.png, all of one pass
over the whole picture without windows or PAMR; with --save-features STEM_features.npz, what the tower made of the picture's
windows.
Exit code: 0 when all went well, 2 when the call or any picture was bad.
"""
# What the command hands on to the Segmenter, which has the defaults.
SEGMENTER_OPTIONS = ("model", "pretrained", "quick_gelu", "device", "precision", "pamr", "window", "stride", "short_side",
                     "logit_scale", "prob_thd", "area_thd", "external")  # fmt: skip
OUTPUT_ENDINGS = ("_overlay.png", "_labels.png", "_scores.npz", "_attention.png", "_outliers.png", "_repair.png",
                  "_feedback.png", "_features.npz", ".json")  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = OneLineParser(
        prog="segment.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        usage="%(prog)s PICTURE... (--classes CLASS... | --classes-file FILE) [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="picture files")
    words = parser.add_argument_group("classes").add_mutually_exclusive_group(required=True)
    words.add_argument("--classes", nargs="+", metavar="CLASS", help='class names; "sofa,couch" joins synonyms')
    words.add_argument("--classes-file", metavar="FILE", help='a line per class, synonyms joined by ", " or "; "')

    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME", help='open_clip model such as ViT-B-16 (default: "embedded")')
    model.add_argument("--pretrained", metavar="TAG|FILE", help="weights: open_clip's tag such as openai, or a file")
    add_switch(model, "--quick-gelu", "QuickGELU, or not, in a model from a file (default: as the weights need)")
    model.add_argument("--backend", choices=PACKAGES, default="jittor", metavar="NAME",
                       help="%(choices)s (default: %(default)s)")  # fmt: skip
    model.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where it can be used")
    model.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="of the image tower's products (default: fp32)")

    method = parser.add_argument_group("method")
    method.add_argument("--method", default="naclip", metavar="NAME",
                        help=f"{', '.join(METHODS)}; or BASE+PART of {', '.join(PARTS)} (default: %(default)s)")  # fmt: skip
    method.add_argument("--external", metavar="NAME[:FILE]",
                        help="vision model that proxyclip and fsa read; self: the CLIP's own middle layer")  # fmt: skip
    method.add_argument("--option", action="append", default=[], type=name_and_value, metavar="NAME=VALUE",
                        help="an option of the method, such as gaussian_std=5; may be repeated")  # fmt: skip
    add_switch(method, "--pamr", "refine the edges by PAMR, or not (default: as the method was published)")
    method.add_argument("--short-side", type=whole_number, metavar="N", help="resize the shorter side to N pixels")
    method.add_argument("--window", type=whole_number, metavar="C", help="slide a window of C x C pixels; 0: none")
    method.add_argument("--stride", type=whole_number, metavar="S", help="by S pixels")
    method.add_argument("--logit-scale", type=float, metavar="X", help="factor before the softmax over the phrases")
    method.add_argument("--prob-thd", type=float, metavar="X", help="pixels below this probability get class 0")
    method.add_argument("--area-thd", type=float, metavar="X", help="drop classes up to this share of the foreground")

    output = parser.add_argument_group("output")
    output.add_argument("--out", default="out", metavar="DIR", help="folder for the results (default: %(default)s)")
    output.add_argument("--scores", action="store_true", help="save the probabilities too")
    output.add_argument("--explain", action="store_true",
                        help="draw what the method saw: outliers, attention, repair, feedback")  # fmt: skip
    output.add_argument("--explain-at", type=place, metavar="ROW,COLUMN",
                        help="pixel whose patch's attention is drawn (default: deep in the largest object)")  # fmt: skip
    kept = output.add_mutually_exclusive_group()
    kept.add_argument("--save-features", action="store_true", help="save the tower's features, for any method and classes")
    kept.add_argument("--features", metavar="FILE", help="use saved features of the one PICTURE in place of the tower")
    return parser


def place(text: str) -> tuple[int, int]:
    """`40,120` -> (40, 120), a row and a column."""
    row, _, column = text.partition(",")
    try:
        return whole_number(row.strip()), whole_number(column.strip())
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form ROW,COLUMN, such as 40,120") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if not arguments.pictures:
        parser.error("name at least one PICTURE, before --classes, which takes all words after it")
    if arguments.explain_at and not arguments.explain:
        parser.error("--explain-at says what --explain draws: give --explain too")
    if arguments.features and len(arguments.pictures) > 1:
        parser.error("--features are of one picture: name one PICTURE")
    return exit_code(lambda: segment_all(arguments), "interrupted; the pictures listed so far are complete")


def segment_all(arguments: argparse.Namespace) -> int:
    """Check everything that is cheap to check, then segment each picture; give the exit code."""
    classes = arguments.classes if arguments.classes_file is None else read_classes_file(arguments.classes_file)
    parsed = parse_classes(classes)
    check_method(arguments.method, dict(arguments.option))
    features = ClipFeatures.load(arguments.features) if arguments.features else None
    folder = make_folder(arguments.out)
    stems = choose_stems(arguments.pictures, folder)

    segmenter = None
    bad = []
    pictures, say = with_progress(arguments.pictures)
    for picture, stem in zip(pictures, stems, strict=True):
        try:
            image = read_picture(picture)
        except InputError as error:
            say(f"error: {error}", file=sys.stderr)
            bad.append(picture)
            continue
        if segmenter is None:  # only now: there is something to segment, and loading takes a while
            segmenter = make_segmenter(arguments, list(parsed.phrases))
            print_notes(parsed, say)
        try:
            check_place(arguments.explain_at, image)
            more: dict[str, Callable[[Path], object]] = {}
            if arguments.save_features:
                features = picture_features(segmenter, image)
                more["features.npz"] = features.save
            result = segmenter(image, classes) if features is None else segmenter(image, classes, features)
            if arguments.explain:
                drawings = explain(segmenter, image, classes, arguments.explain_at)
                more |= {f"{name}.png": drawing.save for name, drawing in drawings.items()}
            configuration = {"picture": picture, **segmenter.configuration()}
            if arguments.features:
                configuration["features"] = arguments.features
            paths = save(result, folder, stem, arguments.scores, configuration, more)
        except (InputError, MemoryError, RuntimeError) as error:
            if not isinstance(error, InputError):
                if not lacks_memory(error):
                    raise
                error = "not enough memory for it; make it, or --short-side, smaller"
            say(f"error: {picture}: {error}", file=sys.stderr)
            bad.append(picture)
        else:
            say(describe(picture, result, paths), file=sys.stdout)
    if bad and len(stems) > 1:
        print(f"{len(bad)} of {len(stems)} pictures could not be segmented: {', '.join(bad)}", file=sys.stderr)
    return 2 if bad else 0


def print_notes(classes: ClassList, say: Callable[..., None]) -> None:
    """Say what may not be meant."""
    if len(classes.names) == 1:
        say("note: there is one class only, so every pixel gets it; blanks separate classes, commas join synonyms",
            file=sys.stderr)  # fmt: skip
    for name in classes.shadowed():
        say(f'note: "{name}" is a synonym of "{classes.names[0]}" too, and so can never win', file=sys.stderr)


def choose_stems(pictures: Sequence[str], folder: Path) -> list[str]:
    """One stem for the results of each picture: its own, or with -2, -3... where that is taken.

    Taken: by a picture before it, whatever the case, or because a result would overwrite one of the pictures.
    """
    sources = {Path(picture).resolve() for picture in pictures}
    stems: list[str] = []
    taken: set[str] = set()
    for picture in pictures:
        own = stem = Path(picture).stem
        number = 1
        while stem.casefold() in taken or not sources.isdisjoint(
            (folder / f"{stem}{ending}").resolve() for ending in OUTPUT_ENDINGS
        ):
            number += 1
            stem = f"{own}-{number}"
        if stem != own:
            print(f"note: the results of {picture} are called {stem}, as {own} is taken", file=sys.stderr)
        stems.append(stem)
        taken.add(stem.casefold())
    return stems


def with_progress(pictures: list[str]) -> tuple[Iterable[str], Callable[..., None]]:
    """The pictures, in a progress bar when a terminal shows several, and the `print` that goes with it."""
    if len(pictures) < 2 or not sys.stderr.isatty():
        return pictures, print
    from tqdm import tqdm

    return tqdm(pictures, unit="picture"), tqdm.write


def make_segmenter(arguments: argparse.Namespace, phrases: list[str]) -> Any:
    """The Segmenter that the options ask for, with the phrases embedded: an unknown word spoils every picture alike."""
    from core.segment.segmenter import Segmenter

    options = {name: getattr(arguments, name) for name in SEGMENTER_OPTIONS if getattr(arguments, name) is not None}
    segmenter = Segmenter(arguments.method, arguments.backend, **options, **dict(arguments.option))
    segmenter.backbone.text_embeddings(phrases)
    return segmenter


def save(
    result: Any,
    folder: Path,
    stem: str,
    scores: bool,
    configuration: dict[str, Any],
    more: dict[str, Callable[[Path], object]],
) -> list[Path]:
    """`result.save`, with what the system says against it as an InputError."""
    try:
        return result.save(folder, stem, scores=scores, configuration=configuration, more=more)
    except OSError as error:
        raise InputError(f"its results cannot be written to {folder}: {error.strerror or error}") from None


def describe(picture: str, result: Any, paths: Sequence[Path]) -> str:
    """The block that is printed for a picture: its size, the classes with their shares, and where the files lie."""
    height, width = result.labels.shape
    shares = sorted(result.shares().items(), key=lambda item: -item[1])
    lines = [f"{picture}  {width} x {height}"]
    lines += [f"  {percentage(share):>6}  {name}" for name, share in shares if share]
    absent = [name for name, share in shares if not share]
    if absent:
        lines.append(f"  no pixel: {', '.join(absent)}")
    lines += [f"  {path}" for path in paths]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

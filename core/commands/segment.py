"""Segment pictures by words: `python scripts/segment.py PICTURE... --classes cat "sofa,couch" wall`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.backends import PACKAGES
from core.clip.features import ClipFeatures
from core.commands.options import (
    MODEL,
    MOST,
    PATH_MOST,
    OneLineParser,
    a_path,
    add_method,
    add_model,
    add_settings,
    chosen,
    exit_code,
    whole_number,
)
from core.evaluation.data.datasets import DATASETS
from core.evaluation.one_method import external_for
from core.evaluation.published.names import FOLDER, read_names
from core.evaluation.published.presets import Preset, named_preset
from core.files.writing import make_folder
from core.jobs.folder import Outcome, Wanted, choose_stems, overwritten, segment_pictures
from core.methods.registry import resolve_options
from core.notes import note, one_line
from core.progress import Progress
from core.results.overlay import percentage
from core.segment.query import ClassList, Query, parse_classes, read_classes_file
from core.segment.segmenter import Segmenter
from core.segment.settings import KINDS, check_given

DESCRIPTION = "Label every pixel of pictures with one of the classes that you name."
EXAMPLES = """\
examples:
  python scripts/segment.py scene.png --classes "red circle" "green square" grass --pamr
  python scripts/segment.py *.jpg --classes cat "sofa,couch" wall --model ViT-B-16 --pretrained openai --out labelled
  python scripts/segment.py cat.jpg --classes-file voc21.txt --method sclip --backend torch --window 224 --stride 112
  python scripts/segment.py *.jpg --preset naclip/voc21 --model ViT-B-16 --pretrained openai

For each picture STEM_overlay.png, STEM_labels.png and STEM.json are written; with --scores STEM_scores.npz; with --explain
STEM_attention.png and, where the method has them, STEM_outliers.png, STEM_repair.png and STEM_feedback.png, all of one pass
over the whole picture without windows or PAMR; with --save-features STEM_features.npz, what the tower made of the picture's
windows.
Exit code: 0 when all went well, 2 when the call or any picture was bad.
"""

SHOWN = 200  # characters of a class's name, at most


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = OneLineParser(
        prog="segment.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        usage="%(prog)s PICTURE... (--classes CLASS... | --classes-file FILE | --preset NAME) [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="picture files")
    words = parser.add_argument_group("classes").add_mutually_exclusive_group()
    words.add_argument("--classes", nargs="+", metavar="CLASS", help='class names; "sofa,couch" joins synonyms')
    words.add_argument("--classes-file", metavar="FILE", help='a line per class, synonyms joined by ", " or "; "')

    model = parser.add_argument_group("model")
    add_model(model)
    model.add_argument("--backend", choices=PACKAGES, default="jittor", metavar="NAME",
                       help="%(choices)s (default: %(default)s)")  # fmt: skip
    method = parser.add_argument_group("method", "Settings that are not given are the model's own, or the published ones.")
    add_method(method, default=None)
    method.add_argument("--preset", metavar="AUTHORS/DATASET",
                        help="method, settings and class names for a data set, such as naclip/voc21; what is given goes "
                             "before them")  # fmt: skip
    add_settings(method)

    output = parser.add_argument_group("output")
    output.add_argument("--out", type=a_path, default="out", metavar="DIR",
                        help="folder for the results (default: %(default)s)")  # fmt: skip
    output.add_argument("--scores", action="store_true", help="save the probabilities too")
    output.add_argument("--explain", action="store_true",
                        help="draw what the method saw: outliers, attention, repair, feedback")  # fmt: skip
    output.add_argument("--explain-at", type=place, metavar="ROW,COLUMN",
                        help="pixel whose patch's attention is drawn (default: deep in the largest object)")  # fmt: skip
    kept = output.add_mutually_exclusive_group()
    kept.add_argument("--save-features", action="store_true", help="save the tower's features, for any method and classes")
    kept.add_argument("--features", type=a_path, metavar="FILE",
                      help="use saved features of the one PICTURE in place of the tower")  # fmt: skip
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
    if not (arguments.classes or arguments.classes_file is not None or arguments.preset is not None):
        parser.error("one of --classes, --classes-file and --preset is required")
    if arguments.explain_at and not arguments.explain:
        parser.error("--explain-at says what --explain draws: give --explain too")
    if arguments.features and len(arguments.pictures) > 1:
        parser.error("--features are of one picture: name one PICTURE")
    return exit_code(lambda: segment_all(arguments), "interrupted; the pictures listed so far are complete")


def segment_all(arguments: argparse.Namespace) -> int:
    """Check everything that is cheap to check, then segment each picture; give the exit code."""
    method, preset = arguments.method or "naclip", None
    if arguments.preset is not None:
        method, preset = named_preset(arguments.preset, arguments.method)
    classes = parse_classes(class_names(arguments, preset))
    resolve_options(method, dict(arguments.option))  # of which none may be a setting's name
    settings = chosen(arguments, KINDS)
    if preset:
        settings.setdefault("external", external_for(method, None, arguments.model))
    check_given(method, settings | dict(arguments.option), preset.settings if preset else None)
    features = ClipFeatures.load(arguments.features) if arguments.features else None
    folder = make_folder(arguments.out)
    pictures, stems = arguments.pictures, choose_stems(arguments.pictures, folder)
    for picture, stem in zip(pictures, stems, strict=True):
        if stem != Path(picture).stem:
            note(f"the results of {picture} are called {stem}, as {Path(picture).stem} is taken")
        if (other := overwritten(picture, stem, folder)) is not None:
            note(f"the results of {picture} overwrite {other}")
    progress = Progress(len(pictures))

    def start() -> tuple[Segmenter, Query]:
        options = chosen(arguments, MODEL) | settings | dict(arguments.option)
        if preset:
            options["preset"] = preset.settings
        segmenter = Segmenter(method, arguments.backend, **options)
        query = segmenter.query(classes)
        print_notes(classes, progress)
        return segmenter, query

    wanted = Wanted(
        folder, arguments.scores, arguments.explain, arguments.explain_at, arguments.save_features, features,
        ({"preset": preset.name} if preset else {}) | ({"features": arguments.features} if arguments.features else {}),
    )  # fmt: skip
    bad = []
    for outcome in segment_pictures(pictures, stems, start, wanted):
        if outcome.error:
            progress.say(f"error: {one_line(outcome.error, MOST)}")
            bad.append(outcome.picture)
        else:
            progress.say(describe(outcome), sys.stdout)
        progress.step()
    progress.close()
    if bad and len(pictures) > 1:
        names = ", ".join(map(one_line, bad))
        print(f"{len(bad)} of {len(pictures)} pictures could not be segmented: {names}", file=sys.stderr)
    return 2 if bad else 0


def class_names(arguments: argparse.Namespace, preset: Preset | None) -> list[str]:
    """The classes that were given, or the preset's."""
    if arguments.classes:
        return arguments.classes
    if arguments.classes_file is not None:
        return read_classes_file(arguments.classes_file)
    return read_names(FOLDER / preset.class_file, DATASETS[preset.name.rpartition("/")[2]])


def print_notes(classes: ClassList, progress: Progress) -> None:
    """Say what may not be meant."""
    if len(classes.names) == 1:
        progress.say("note: there is one class only, so every pixel gets it; blanks separate classes, commas join synonyms")
    for name in classes.shadowed():
        progress.say(one_line(f'note: "{name}" is a synonym of "{classes.names[0]}" too, and so can never win'))


def describe(outcome: Outcome) -> str:
    """The block that is printed for a picture: its size, the classes with their shares, and where the files lie."""
    height, width = outcome.result.labels.shape
    shares = sorted(outcome.result.shares().items(), key=lambda item: -item[1])
    lines = [f"{one_line(outcome.picture)}  {width} x {height}"]
    lines += [f"  {percentage(share):>6}  {one_line(name, SHOWN)}" for name, share in shares if share]
    absent = [one_line(name, SHOWN) for name, share in shares if not share]
    if absent:
        lines.append(f"  no pixel: {', '.join(absent)}")
    lines += [f"  {one_line(path, PATH_MOST)}" for path in outcome.paths]
    return "\n".join(lines)

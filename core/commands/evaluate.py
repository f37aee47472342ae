"""Measure methods on the field's data sets, and on the procedural scenes of the embedded model.

python scripts/evaluate.py --dataset voc21 --root VOCdevkit --method naclip --model ViT-B-16 --pretrained openai
python scripts/evaluate.py --dataset scenes
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.backends import PACKAGES
from core.clip.model import ClipModel
from core.commands.options import (
    MODEL,
    PATH_MOST,
    OneLineParser,
    a_file,
    a_path,
    add_method,
    add_model,
    add_settings,
    chosen,
    exit_code,
    whole_number,
)
from core.errors import InputError
from core.evaluation import on_scenes, one_method
from core.evaluation import search as searching
from core.evaluation.compositions import measured_methods
from core.evaluation.data.datasets import DATASETS, find_samples, passed_over
from core.evaluation.data.derive import derive_labels
from core.evaluation.data.labels import check_first
from core.evaluation.predictions import Wanted
from core.evaluation.published.names import STAND_INS
from core.evaluation.published.presets import THRESHOLDS, check_overrides, preset_note
from core.evaluation.report import describe_configuration, markdown_table, summary, table
from core.files.writing import make_folder, write_json
from core.methods.registry import resolve_options
from core.notes import one_line
from core.segment.settings import KINDS

EPILOG = """\
data sets (--root is the folder shown, or one that holds it; core/evaluation/data/datasets.py says how to get each):
  voc21 voc20              VOC2012: JPEGImages, SegmentationClass, ImageSets/Segmentation/val.txt
  context60 context59      VOC2010: JPEGImages, SegmentationClassContext, ImageSets/SegmentationContext/val.txt
  coco_object              images/val2017, annotations/val2017/*_instanceTrainIds.png
  coco_stuff164k           images/val2017, annotations/val2017/*_labelTrainIds.png
  cityscapes               leftImg8bit/val, gtFine/val/*/*_gtFine_labelTrainIds.png
  ade20k                   ADEChallengeData2016: images/validation, annotations/validation
  scenes                   drawn here from a seed; the embedded model's own words

A run goes on where it stopped, also after it was killed: the same command again. Each method's settings are its authors';
what is given here goes before them, and is recorded.

--save-labels writes STEM.png for each picture, in the data set's own ids as its label pictures and its server have them: VOC
0..20 with VOC's palette (voc20 1..20), ADE20K and context59 1..C, context60 0..59, Cityscapes' labelIds 7..33 with the CITY/
left out, COCO the stuff-thing maps' values 0..181 (category id less one; 255 is COCO-Object's background). --save-overlays
writes STEM_overlay.png, coloured and with a legend. Both appear whole or not at all; a run that goes on writes what is missing;
several runs write into DIR/DATASET_METHOD_BACKEND. A file that is another run's is replaced with --restart only, and one that
this command has not written never.

Exit code: 0 when all went well, 2 when the call or any picture was bad.
"""
ONE_METHODS = ("pamr", "pamr_iterations", "pamr_dilations", "external")
"""Settings that on scenes, where the rows differ in them, go with `--method` alone."""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = OneLineParser(
        prog="evaluate.py", description=__doc__.splitlines()[0], epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=("scenes", *DATASETS), default="scenes", metavar="NAME",
                      help="scenes, or one of those below (default: %(default)s)")  # fmt: skip
    data.add_argument("--root", type=a_path, metavar="DIR", help="folder of the data set")
    data.add_argument("--derive-labels", action="store_true",
                      help="make the labels that COCO or Cityscapes lack from their others, and end")  # fmt: skip
    data.add_argument("--limit", type=whole_number, metavar="N",
                      help="the first N pictures (default: all); scenes of each kind (default: 500)")  # fmt: skip
    data.add_argument("--seed", type=whole_number, metavar="S", help="of the scenes (default: 1000)")
    data.add_argument("--classes-file", type=a_path, metavar="FILE",
                      help="class names in place of the authors', a line per class")  # fmt: skip

    model = parser.add_argument_group("model")
    add_model(model)
    model.add_argument("--backend", nargs="+", choices=(*PACKAGES, "all"), default=["jittor"], metavar="NAME",
                       help=f"one or several of {', '.join(PACKAGES)}, or all (default: jittor)")  # fmt: skip

    method = parser.add_argument_group("method", "Settings that are not given are the preset's; on scenes the model's own.")
    which = method.add_mutually_exclusive_group()
    add_method(which, default=None)
    which.add_argument("--all-methods", action="store_true",
                       help="every method, and the compositions worth knowing; on scenes the default")  # fmt: skip
    which.add_argument("--search", action="store_true", help="search scenes for the best composition, report it on --seed")
    method.add_argument("--search-seed", type=whole_number, default=1, metavar="S",
                        help="of the scenes that are searched (default: %(default)s)")  # fmt: skip
    add_settings(method)

    output = parser.add_argument_group("output")
    output.add_argument("--out", type=a_path, metavar="DIR",
                        help="journal and results (default: out/evaluation/DATASET_METHOD_BACKEND)")  # fmt: skip
    output.add_argument("--json", type=a_file, metavar="FILE", help="write the figures here too")
    output.add_argument("--save-labels", type=a_path, metavar="DIR",
                        help="write STEM.png of each picture, in the data set's own ids")  # fmt: skip
    output.add_argument("--save-overlays", type=a_path, metavar="DIR", help="write STEM_overlay.png of each picture")
    output.add_argument("--markdown", action="store_true", help="print the scenes' table in Markdown")
    output.add_argument("--workers", type=whole_number, default=2, metavar="N", help="threads that read pictures (default: 2)")
    output.add_argument("--restart", action="store_true", help="forget what the journal has")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code."""
    arguments = make_parser().parse_args(argv)
    kept = "; the same command goes on from here" if arguments.dataset != "scenes" else ""
    return exit_code(lambda: run(arguments), f"\ninterrupted{kept}")


def run(arguments: argparse.Namespace) -> int:
    """Check the options, then measure what they ask for."""
    check(arguments)
    if arguments.json:
        make_folder(arguments.json.parent)
    if arguments.dataset != "scenes":
        return evaluate_dataset(arguments)
    return search_scenes(arguments) if arguments.search else evaluate_scenes(arguments)


def check(arguments: argparse.Namespace) -> None:
    """Raises InputError for options that make no sense together."""
    scenes = arguments.dataset == "scenes"
    alien = ("seed", "search", "markdown")
    if scenes:
        alien = ("root", "derive_labels", "classes_file", *THRESHOLDS, "out", "save_labels", "save_overlays", "restart")
    for name in alien:
        if getattr(arguments, name) not in (None, False):
            what = "the scenes" if scenes else f"the data set {arguments.dataset}"
            raise InputError(f"--{name.replace('_', '-')} makes no sense for {what}: leave it out")
    if not scenes and arguments.root is None:
        raise InputError(f"--dataset {arguments.dataset} needs --root DIR, the folder of the data set")
    if scenes and arguments.method is None and (arguments.option or chosen(arguments, ONE_METHODS)):
        raise InputError("--option, --pamr and --external are one method's: name it with --method")
    if arguments.all_methods and arguments.option:
        raise InputError("--option is one method's: leave it or --all-methods out")
    for name in ("limit", "workers"):
        if getattr(arguments, name) == 0:
            raise InputError(f"--{name} must be at least 1")
    if scenes:
        arguments.seed = 1000 if arguments.seed is None else arguments.seed
        arguments.limit = arguments.limit or 500
    if arguments.search and arguments.search_seed == arguments.seed:
        raise InputError("--search-seed must not be --seed: the winner is reported on scenes that the search has not seen")
    if arguments.json and arguments.json.is_dir():
        raise InputError(f"--json {arguments.json} is a folder: name a file in it")
    arguments.backend = list(PACKAGES) if "all" in arguments.backend else list(dict.fromkeys(arguments.backend))


def evaluate_dataset(arguments: argparse.Namespace) -> int:
    """Measure one method, or every, on a data set and on each backend; or derive its labels."""
    dataset = DATASETS[arguments.dataset]
    if arguments.derive_labels:
        written, there = derive_labels(dataset.name, arguments.root)
        print(f"{written} label pictures written, {there} were there")
        return 0
    methods = measured_methods() if arguments.all_methods else (arguments.method or "naclip",)
    runs = [(method, backend) for backend in arguments.backend for method in methods]
    for method in methods:
        check_overrides(method, dataset, overrides(arguments, method), dict(arguments.option))
    samples = find_samples(dataset, arguments.root)
    notes = [*passed_over(dataset, arguments.root), *check_first(samples, dataset), *filter(None, map(preset_note, methods))]
    for note in notes:
        print(f"note: {one_line(note)}", file=sys.stderr)
    records, model = [], chosen(arguments, MODEL)
    for method, backend in runs:
        prepared = one_method.prepare(
            dataset, samples[: arguments.limit], method, {**model, "backend": backend},
            overrides(arguments, method), dict(arguments.option), arguments.classes_file,
        )  # fmt: skip
        model = in_hand(prepared.segmenter.clip, arguments)
        print(f"{describe_configuration(prepared.configuration)}\n")
        folder = out_folder(arguments, method, backend, len(runs) > 1)
        wanted = saved(arguments, method, backend, len(runs) > 1)
        record = one_method.measure(prepared, folder, arguments.workers, arguments.restart, wanted)
        print(f"{summary(record) if len(runs) > 1 else table(record)}\n{one_line(folder / one_method.RESULT, PATH_MOST)}\n")
        records.append(record)
    print(markdown_table(records))
    if records[0]["note"]:
        print(f"\nnote: {STAND_INS}")
    if arguments.json:
        write_json(arguments.json, records if len(runs) > 1 else records[0])
    return 2 if any(record["pictures"]["failed"] for record in records) else 0


def in_hand(clip: ClipModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """The model of a further run: the first one's, whose weights are read once."""
    return {"model": clip, **chosen(arguments, ("device",))}


def overrides(arguments: argparse.Namespace, method: str) -> dict[str, Any]:
    """The settings that go before the preset's; among all methods only those that read an external model get one."""
    given = chosen(arguments, KINDS)
    if arguments.all_methods or arguments.external is None:
        given["external"] = one_method.external_for(method, arguments.external, arguments.model)
    return given


def out_folder(arguments: argparse.Namespace, method: str, backend: str, several: bool) -> Path:
    """Where a run's journal and results lie; below --out where there are several runs."""
    name = f"{arguments.dataset}_{method}_{backend}"
    if arguments.out is None:
        return Path("out", "evaluation", name)
    return Path(arguments.out, name) if several else Path(arguments.out)


def saved(arguments: argparse.Namespace, method: str, backend: str, several: bool) -> Wanted:
    """Where a run's labels and overlays go; below the folders named where there are several runs."""
    name = f"{arguments.dataset}_{method}_{backend}" if several else ""
    folders = (arguments.save_labels, arguments.save_overlays)
    return Wanted(*(None if folder is None else Path(folder, name) for folder in folders))


def evaluate_scenes(arguments: argparse.Namespace) -> int:
    """The table of the methods on fresh scenes, for each backend."""
    rows = on_scenes.every_row()
    if arguments.method:
        options = dict(arguments.option)
        resolve_options(arguments.method, options)
        rows = {arguments.method: {"method": arguments.method, **options}}
    print(f"object IoU in %, {arguments.limit} scenes each, seed {arguments.seed}, {', '.join(arguments.backend)}")
    columns, configurations, model = {}, {}, chosen(arguments, MODEL)
    for backend in arguments.backend:
        segmenters = on_scenes.make_segmenters(backend, rows, **model, **chosen(arguments, KINDS))
        clip = next(iter(segmenters.values())).clip
        model = in_hand(clip, arguments)
        configurations[backend] = {row: segmenter.configuration() for row, segmenter in segmenters.items()}
        columns[backend] = on_scenes.measure(segmenters, arguments.seed, arguments.limit)
    columns[arguments.backend[0]][on_scenes.ACCURACY] = on_scenes.accuracy(clip, arguments.seed, arguments.limit)
    report_scenes(arguments, columns, configurations)
    return 0


def search_scenes(arguments: argparse.Namespace) -> int:
    """The best compositions on the scenes of one seed, beside naclip with PAMR on those of another."""
    if len(arguments.backend) > 1:
        raise InputError("--search takes one backend")
    backend = arguments.backend[0]
    rows = searching.candidates()
    rows[searching.RIVAL] = on_scenes.every_row()[searching.RIVAL]
    print(f"searching {len(rows) - 1} compositions on seed {arguments.search_seed}, {backend}", file=sys.stderr)
    segmenters = on_scenes.make_segmenters(backend, rows, **chosen(arguments, (*MODEL, *KINDS)))
    rival = segmenters.pop(searching.RIVAL)
    best = searching.search(segmenters, arguments.search_seed)
    print(f"best on seed {arguments.search_seed}, {searching.SCENES} scenes each\n{on_scenes.text_table({backend: best})}\n")
    reported = {**{name: segmenters[name] for name in best}, searching.RIVAL: rival}
    columns = {backend: on_scenes.measure(reported, arguments.seed, arguments.limit)}
    print(f"object IoU in %, {arguments.limit} scenes each, seed {arguments.seed}, {backend}")
    report_scenes(arguments, columns, {backend: {row: s.configuration() for row, s in reported.items()}})
    return 0


def report_scenes(arguments: argparse.Namespace, columns: dict[str, Any], configurations: dict[str, Any]) -> None:
    """Print the table and what decided it; write the JSON."""
    print((on_scenes.markdown_table if arguments.markdown else on_scenes.text_table)(columns))
    print(f"\n{on_scenes.describe(configurations)}")
    if arguments.json:
        single = len(columns) == 1
        backend = arguments.backend[0] if single else arguments.backend
        record = {"dataset": "scenes", "seed": arguments.seed, "limit": arguments.limit, "backend": backend}
        record["figures"] = columns[backend] if single else columns
        write_json(arguments.json, {**record, "configurations": configurations[backend] if single else configurations})

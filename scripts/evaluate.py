"""Measure methods on the field's data sets, and on the procedural scenes of the embedded model.

python scripts/evaluate.py --dataset voc21 --root VOCdevkit --method naclip --model ViT-B-16 --pretrained openai
python scripts/evaluate.py --dataset scenes
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from command_line import OneLineParser, add_switch, exit_code, name_and_value, whole_number

from core.backends import PACKAGES
from core.errors import InputError
from core.evaluation import benchmark, scenes
from core.evaluation import search as searching
from core.evaluation.data.datasets import DATASETS, find_samples
from core.evaluation.data.derive import derive_labels
from core.evaluation.data.labels import check_first
from core.evaluation.published.names import STAND_INS
from core.evaluation.published.presets import resolve
from core.evaluation.report import describe_configuration, markdown_table, summary, table
from core.files.writing import make_folder, write_json
from core.methods import METHODS, check_method
from core.methods.compose import OPTIONS as PARTS

EPILOG = """\
data sets (--root is the folder shown, or one that holds it; core/evaluation/datasets.py says how to get each):
  voc21 voc20              VOC2012: JPEGImages, SegmentationClass, ImageSets/Segmentation/val.txt
  context60 context59      VOC2010: JPEGImages, SegmentationClassContext, ImageSets/SegmentationContext/val.txt
  coco_object              images/val2017, annotations/val2017/*_instanceTrainIds.png
  coco_stuff164k           images/val2017, annotations/val2017/*_labelTrainIds.png
  cityscapes               leftImg8bit/val, gtFine/val/*/*_gtFine_labelTrainIds.png
  ade20k                   ADEChallengeData2016: images/validation, annotations/validation
  scenes                   drawn here from a seed; the embedded model's own words

A run goes on where it stopped, also after it was killed: the same command again. Each method's settings are its authors';
what is given here goes before them, and is recorded. Exit code: 0 when all went well, 2 when the call or any picture was bad.
"""
SIZES = ("short_side", "window", "stride", "logit_scale", "prob_thd", "area_thd", "pamr", "external")
SCENE_SIZES = ("short_side", "window", "stride", "logit_scale")
MODEL = ("model", "pretrained", "quick_gelu", "device", "precision")


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = OneLineParser(
        prog="evaluate.py", description=__doc__.splitlines()[0], epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=("scenes", *DATASETS), default="scenes", metavar="NAME",
                      help="scenes, or one of those below (default: %(default)s)")  # fmt: skip
    data.add_argument("--root", metavar="DIR", help="folder of the data set")
    data.add_argument("--derive-labels", action="store_true",
                      help="make the labels that COCO or Cityscapes lack from their others, and end")  # fmt: skip
    data.add_argument("--limit", type=whole_number, metavar="N",
                      help="the first N pictures (default: all); scenes of each kind (default: 500)")  # fmt: skip
    data.add_argument("--seed", type=whole_number, metavar="S", help="of the scenes (default: 1000)")
    data.add_argument("--classes-file", metavar="FILE", help="class names in place of the authors', a line per class")

    model = parser.add_argument_group("model")
    model.add_argument("--model", default="embedded", metavar="NAME",
                       help="open_clip model such as ViT-B-16 (default: %(default)s)")  # fmt: skip
    model.add_argument("--pretrained", metavar="TAG|FILE", help="weights: open_clip's tag such as openai, or a file")
    add_switch(model, "--quick-gelu", "QuickGELU, or not, in a model from a file (default: as the weights need)")
    model.add_argument("--backend", nargs="+", choices=(*PACKAGES, "all"), default=["jittor"], metavar="NAME",
                       help=f"one or several of {', '.join(PACKAGES)}, or all (default: jittor)")  # fmt: skip
    model.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where it can be used")
    model.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="of the image tower's products (default: fp32)")

    method = parser.add_argument_group("method")
    which = method.add_mutually_exclusive_group()
    which.add_argument("--method", metavar="NAME",
                       help=f"{', '.join(METHODS)}; or BASE+PART of {', '.join(PARTS)} (default: naclip)")  # fmt: skip
    which.add_argument("--all-methods", action="store_true",
                       help="every method, and the compositions worth knowing; on scenes the default")  # fmt: skip
    which.add_argument("--search", action="store_true", help="search scenes for the best composition, report it on --seed")
    method.add_argument("--search-seed", type=whole_number, default=1, metavar="S",
                        help="of the scenes that are searched (default: %(default)s)")  # fmt: skip
    method.add_argument("--external", metavar="NAME[:FILE]",
                        help="vision model for proxyclip and fsa (default: dino); self: CLIP's own middle layer")  # fmt: skip
    method.add_argument("--option", action="append", default=[], type=name_and_value, metavar="NAME=VALUE",
                        help="an option of the method, such as gaussian_std=5; may be repeated")  # fmt: skip
    add_switch(method, "--pamr", "refine the edges by PAMR, or not")
    for name, text in (("short-side", "resize the shorter side to N pixels"), ("window", "slide a window; 0: none"),
                       ("stride", "by N pixels")):  # fmt: skip
        method.add_argument(f"--{name}", type=whole_number, metavar="N", help=text)
    for name, text in (("logit-scale", "factor before the softmax"), ("prob-thd", "pixels below it become background"),
                       ("area-thd", "classes of fewer pixels, as a share, are dropped")):  # fmt: skip
        method.add_argument(f"--{name}", type=float, metavar="X", help=text)

    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="journal and results (default: out/evaluation/DATASET_METHOD_BACKEND)")
    output.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
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
    on_scenes = arguments.dataset == "scenes"
    alien = ("root", "derive_labels", "classes_file", "prob_thd", "area_thd", "out", "restart") if on_scenes else (
        "seed", "search", "markdown")  # fmt: skip
    for name in alien:
        if getattr(arguments, name) not in (None, False):
            what = "the scenes" if on_scenes else f"the data set {arguments.dataset}"
            raise InputError(f"--{name.replace('_', '-')} makes no sense for {what}: leave it out")
    if not on_scenes and arguments.root is None:
        raise InputError(f"--dataset {arguments.dataset} needs --root DIR, the folder of the data set")
    if on_scenes and arguments.method is None and (arguments.option or arguments.pamr is not None or arguments.external):
        raise InputError("--option, --pamr and --external are one method's: name it with --method")
    if arguments.all_methods and arguments.option:
        raise InputError("--option is one method's: leave it or --all-methods out")
    for name in ("limit", "workers"):
        if getattr(arguments, name) == 0:
            raise InputError(f"--{name} must be at least 1")
    if on_scenes:
        arguments.seed = 1000 if arguments.seed is None else arguments.seed
        arguments.limit = arguments.limit or 500
    if arguments.search and arguments.search_seed == arguments.seed:
        raise InputError("--search-seed must not be --seed: the winner is reported on scenes that the search has not seen")
    if arguments.json and arguments.json.is_dir():
        raise InputError(f"--json {arguments.json} is a folder: name a file in it")
    arguments.backend = list(PACKAGES) if "all" in arguments.backend else list(dict.fromkeys(arguments.backend))


def make_segmenter(**settings: Any) -> Any:
    """The Segmenter, imported when the options are known to be right."""
    from core.segment.segmenter import Segmenter

    return Segmenter(**settings)


def chosen(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def evaluate_dataset(arguments: argparse.Namespace) -> int:
    """Measure one method, or every, on a data set and on each backend; or derive its labels."""
    dataset = DATASETS[arguments.dataset]
    if arguments.derive_labels:
        written, there = derive_labels(dataset.name, arguments.root)
        print(f"{written} label pictures written, {there} were there")
        return 0
    methods = benchmark.METHOD_ROWS if arguments.all_methods else (arguments.method or "naclip",)
    runs = [(method, backend) for backend in arguments.backend for method in methods]
    for method in methods:
        check_method(method, dict(arguments.option))
        resolve(method, dataset, chosen(arguments, SIZES))
    samples = find_samples(dataset, arguments.root)
    for note in check_first(samples, dataset):
        print(f"note: {note}", file=sys.stderr)
    records, model = [], chosen(arguments, MODEL)
    for method, backend in runs:
        segmenter, configuration = benchmark.prepare(
            dataset, samples[: arguments.limit], method, make_segmenter, {**model, "backend": backend},
            overrides(arguments, method), dict(arguments.option), arguments.classes_file,
        )  # fmt: skip
        model = {"model": segmenter.backbone, **chosen(arguments, ("device",))}  # whose weights are read once
        print(f"{describe_configuration(configuration)}\n")
        folder = out_folder(arguments, method, backend, len(runs) > 1)
        more = arguments.workers, arguments.restart
        record = benchmark.measure(dataset, samples[: arguments.limit], segmenter, configuration, folder, *more)
        print(f"{summary(record) if len(runs) > 1 else table(record)}\n{folder / benchmark.RESULT}\n")
        records.append(record)
    print(markdown_table(records))
    if records[0]["note"]:
        print(f"\nnote: {STAND_INS}")
    if arguments.json:
        write_json(arguments.json, records if len(runs) > 1 else records[0])
    return 2 if any(record["pictures"]["failed"] for record in records) else 0


def overrides(arguments: argparse.Namespace, method: str) -> dict[str, Any]:
    """The settings that go before the preset's; among all methods only those that read an external model get one."""
    given = chosen(arguments, SIZES)
    if arguments.all_methods or arguments.external is None:
        given["external"] = benchmark.external_for(method, arguments.external, arguments.model)
    return given


def out_folder(arguments: argparse.Namespace, method: str, backend: str, several: bool) -> Path:
    """Where a run's journal and results lie; below --out where there are several runs."""
    name = f"{arguments.dataset}_{method}_{backend}"
    if arguments.out is None:
        return Path("out", "evaluation", name)
    return Path(arguments.out, name) if several else Path(arguments.out)


def evaluate_scenes(arguments: argparse.Namespace) -> int:
    """The table of the methods on fresh scenes, for each backend."""
    rows = scenes.ROWS
    if arguments.method:
        own = {"method": arguments.method, **chosen(arguments, ("pamr", "external")), **dict(arguments.option)}
        rows = {arguments.method: own}
    print(f"object IoU in %, {arguments.limit} scenes each, seed {arguments.seed}, {', '.join(arguments.backend)}")
    columns, configurations = {}, {}
    model = chosen(arguments, MODEL)
    for backend in arguments.backend:
        segmenters = scenes.make_segmenters(backend, rows, make_segmenter, **model, **chosen(arguments, SCENE_SIZES))
        backbone = next(iter(segmenters.values())).backbone
        model = {"model": backbone, **chosen(arguments, ("device",))}
        configurations[backend] = {row: scenes.configuration(segmenter) for row, segmenter in segmenters.items()}
        columns[backend] = scenes.measure(segmenters, arguments.seed, arguments.limit)
    columns[arguments.backend[0]][scenes.ACCURACY] = scenes.accuracy(backbone, arguments.seed, arguments.limit)
    report_scenes(arguments, columns, configurations)
    return 0


def search_scenes(arguments: argparse.Namespace) -> int:
    """The best compositions on the scenes of one seed, beside naclip with PAMR on those of another."""
    if len(arguments.backend) > 1:
        raise InputError("--search takes one backend")
    backend = arguments.backend[0]
    rows = searching.candidates()
    rows[searching.RIVAL] = scenes.ROWS[searching.RIVAL]
    print(f"searching {len(rows) - 1} compositions on seed {arguments.search_seed}, {backend}", file=sys.stderr)
    settings = chosen(arguments, (*MODEL, *SCENE_SIZES))
    segmenters = scenes.make_segmenters(backend, rows, make_segmenter, **settings)
    rival = segmenters.pop(searching.RIVAL)
    best = searching.search(segmenters, arguments.search_seed)
    print(f"best on seed {arguments.search_seed}, {searching.SCENES} scenes each\n{scenes.text_table({backend: best})}\n")
    reported = {**{name: segmenters[name] for name in best}, searching.RIVAL: rival}
    columns = {backend: scenes.measure(reported, arguments.seed, arguments.limit)}
    print(f"object IoU in %, {arguments.limit} scenes each, seed {arguments.seed}, {backend}")
    report_scenes(arguments, columns, {backend: {row: scenes.configuration(s) for row, s in reported.items()}})
    return 0


def report_scenes(arguments: argparse.Namespace, columns: dict[str, Any], configurations: dict[str, Any]) -> None:
    """Print the table and what decided it; write the JSON."""
    print((scenes.markdown_table if arguments.markdown else scenes.text_table)(columns))
    print(f"\n{scenes.describe(configurations)}")
    if arguments.json:
        single = len(columns) == 1
        backend = arguments.backend[0] if single else arguments.backend
        record = {"dataset": "scenes", "seed": arguments.seed, "limit": arguments.limit, "backend": backend}
        record["figures"] = columns[backend] if single else columns
        write_json(arguments.json, {**record, "configurations": configurations[backend] if single else configurations})


if __name__ == "__main__":
    sys.exit(main())

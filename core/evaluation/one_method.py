"""One method on one data set, from its preset to the files that hold its figures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.published.names import FOLDER, read_names, stand_in_names
from core.evaluation.published.presets import preset_for, resolve
from core.evaluation.report import make_record, markdown_table, table
from core.evaluation.run import evaluate, run_configuration
from core.files.writing import make_folder, write_json, write_text
from core.methods import METHODS, check_method
from core.methods.compose import split_name
from core.segment.query import parse_classes

if TYPE_CHECKING:
    from core.segment.segmenter import Segmenter

RESULT, TABLE = "result.json", "result.md"
METHOD_ROWS = (*METHODS, "clearclip+neighbourhood", "naclip+fsa", "maskclip+fsa")
"""What `--all-methods` measures on a data set: every published method, and the compositions worth knowing."""


def prepare(
    dataset: DataSet,
    samples: Sequence[Sample],
    method: str,
    make: "Callable[..., Segmenter]",
    model: dict[str, Any],
    overrides: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    classes_file: str | None = None,
) -> "tuple[Segmenter, dict[str, Any]]":
    """A Segmenter with the method's preset for the data set, and all that decides the figures.

    make: what builds a Segmenter. model: its backend, model, pretrained, device and the like. overrides: settings that go
    before the preset's, where they are not None. options: the method's own. classes_file: names in place of the authors'.

    Raises InputError for a method, an option, a setting or names that cannot be.
    """
    options = options or {}
    check_method(method, options)
    preset = preset_for(method, dataset.name)
    settings = resolve(method, dataset, overrides or {})
    published = preset.settings()
    changed = {name: value for name, value in settings.items() if value != published.get(name) and name in (overrides or {})}
    segmenter = make(method=method, **model, **settings, **options)
    stand_in = classes_file is None and segmenter.backbone.loaded.name == "embedded"
    names = stand_in_names(dataset) if stand_in else read_names(classes_file or FOLDER / preset.class_file, dataset)
    segmenter.backbone.text_embeddings(list(parse_classes(names).phrases))  # an unknown word spoils every picture alike
    return segmenter, run_configuration(
        dataset, samples, segmenter, names,
        preset=preset.name, overrides=changed | options,
        class_names="stand-in" if stand_in else classes_file or preset.class_file,
        preset_class_names=preset.class_file,
    )  # fmt: skip


def measure(
    dataset: DataSet,
    samples: Sequence[Sample],
    segmenter: "Segmenter",
    configuration: dict[str, Any],
    folder: str | Path,
    workers: int = 2,
    restart: bool = False,
) -> dict[str, Any]:
    """Run what was prepared, write `result.json` and `result.md` into `folder` beside the journal, and give the record.

    Raises InputError where `core.evaluation.run.evaluate` does.
    """
    folder = make_folder(folder)
    matrix, failed = evaluate(dataset, samples, segmenter, configuration, folder, workers, restart)
    record = make_record(dataset, configuration, matrix, failed)
    write_json(folder / RESULT, record)
    note = f"{record['note']}\n\n" if record["note"] else ""
    write_text(folder / TABLE, f"{note}{markdown_table([record])}\n\n```\n{table(record)}\n```\n")
    return record


def external_for(method: str, external: str | None, model: Any) -> str | None:
    """The external model that goes before the preset's, for a method that reads one: the one named, if any.

    The embedded model, which runs offline, has its own middle layer unless another is named; and None is the preset's.
    """
    if split_name(method)[0] not in ("proxyclip", "fsa"):
        return None
    return "self" if external is None and model == "embedded" else external

"""One method on one data set, from its preset to the files that hold its figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.evaluation.compositions import reads_external
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.predictions import Wanted
from core.evaluation.published.names import FOLDER, read_names, stand_in_names
from core.evaluation.published.presets import check_overrides, preset_for
from core.evaluation.report import make_record, markdown_table, table
from core.evaluation.run import Run, evaluate, run_configuration
from core.files.writing import json_text, make_folder, write_texts
from core.segment.segmenter import Segmenter

RESULT, TABLE = "result.json", "result.md"
EMBEDDED = "embedded"  # the model that runs offline, and knows no photographs' words


def prepare(
    dataset: DataSet,
    samples: Sequence[Sample],
    method: str,
    model: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    classes_file: str | None = None,
) -> Run:
    """A Segmenter with the method's preset for the data set, its words, and all that decides the figures.

    model: the Segmenter's backend, model, pretrained, device and the like. overrides: settings that go before the preset's,
    where they are not None. options: the method's own. classes_file: names in place of the authors'.

    Raises InputError for a method, an option, a setting or names that cannot be.
    """
    overrides = {name: value for name, value in (overrides or {}).items() if value is not None}
    options = dict(options or {})
    check_overrides(method, dataset, overrides, options)
    preset = preset_for(method, dataset.name)
    segmenter = Segmenter(method, **model, preset=preset.settings, **overrides, **options)
    stand_in = classes_file is None and segmenter.clip.name == EMBEDDED
    names = stand_in_names(dataset) if stand_in else read_names(classes_file or FOLDER / preset.class_file, dataset)
    changed = {name: value for name, value in overrides.items() if value != preset.settings.get(name)}
    configuration = run_configuration(
        dataset, samples, segmenter, names,
        preset=preset.name, overrides=changed | options,
        class_names="stand-in" if stand_in else classes_file or preset.class_file,
        preset_class_names=preset.class_file,
    )  # fmt: skip
    return Run(dataset, samples, segmenter, segmenter.query(names), configuration)


def measure(
    run: Run, folder: str | Path, workers: int = 2, restart: bool = False, wanted: Wanted | None = None
) -> dict[str, Any]:
    """Run what was prepared, write `result.json` and `result.md` into `folder` beside the journal, and give the record.

    Raises InputError where `core.evaluation.run.evaluate` does.
    """
    folder = make_folder(folder)
    matrix, failed = evaluate(run, folder, workers, restart, wanted)
    record = make_record(run.dataset, run.configuration, matrix, failed)
    note = f"{record['note']}\n\n" if record["note"] else ""
    markdown = f"{note}{markdown_table([record])}\n\n```\n{table(record)}\n```\n"
    write_texts(folder, {TABLE: markdown, RESULT: json_text(record)})
    return record


def external_for(method: str, external: str | None, model: str | None) -> str | None:
    """The external model that goes before the preset's, for a method that reads one: the one named, if any.

    model: by name, None for the embedded one. That one, which runs offline, has its own middle layer unless another is named;
    and None is the preset's.
    """
    if not reads_external(method):
        return None
    return "self" if external is None and model in (None, EMBEDDED) else external

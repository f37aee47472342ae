"""What a run comes to: a table for the terminal, a record for JSON, a Markdown row beside the published figure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from core.evaluation.data.datasets import DATASETS, DataSet
from core.evaluation.metrics import figures
from core.evaluation.published.figures import MODELS, published_miou
from core.evaluation.published.names import STAND_INS
from core.notes import one_line
from core.segment.query import parse_classes

NAME_MOST = 80  # characters of a class's name in a table, at most
MARKDOWN_HEAD = (
    "| data set | method | backend | model | pictures | mIoU | aAcc | mAcc | mIoU published | unlike the published run |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def make_record(
    dataset: DataSet, configuration: dict[str, Any], matrix: np.ndarray, failed: Mapping[str, str]
) -> dict[str, Any]:
    """The result, ready for JSON: figures as shares of 0..1, null where undefined, and all that decided them."""
    result = figures(matrix)
    names = parse_classes(configuration["classes"]).names
    published = published_miou(configuration["method"], dataset.name)
    return {
        "dataset": dataset.name,
        "method": configuration["method"],
        "backend": configuration["backend"],
        "figures": {"mIoU": _number(result.miou), "aAcc": _number(result.aacc), "mAcc": _number(result.macc)},
        "published": None if published is None else {"mIoU": round(published / 100, 6)},
        "unlike_published": unlike_published(configuration, dataset, failed),
        "classes": [
            {"name": name, "IoU": _number(iou), "Acc": _number(accuracy)}
            for name, iou, accuracy in zip(names, result.iou, result.accuracy, strict=True)
        ],
        "pictures": {"asked": configuration["pictures"]["count"], "failed": dict(failed)},
        "note": STAND_INS if configuration["class_names"] == "stand-in" else None,
        "configuration": configuration,
    }


def unlike_published(configuration: dict[str, Any], dataset: DataSet, failed: Mapping[str, str]) -> list[str]:
    """What keeps a run from being the one that was published; empty where no figure is recorded."""
    if published_miou(configuration["method"], dataset.name) is None:
        return []
    unlike = []
    if configuration["model"] not in MODELS:
        unlike.append(f"model {configuration['model']}")
    elif configuration["pretrained"] != "openai":
        unlike.append(f"weights {configuration['pretrained']}")
    elif configuration["activation"] != "quick_gelu":
        unlike.append(f"activation {configuration['activation']}")
    if configuration["precision"] != "fp32":
        unlike.append(f"precision {configuration['precision']}")
    unlike += [f"{name} {value}" for name, value in configuration["overrides"].items()]
    measured = configuration["pictures"]["count"] - len(failed)
    if measured != dataset.n_pictures:
        unlike.append(f"{measured} of {dataset.n_pictures} pictures")
    if configuration["class_names"] != configuration["preset_class_names"]:
        unlike.append(f"class names {one_line(configuration['class_names'])}")
    return unlike


def table(record: dict[str, Any]) -> str:
    """IoU and accuracy of every class in %, and the three figures; "-" where undefined."""
    names = [one_line(entry["name"], NAME_MOST) for entry in record["classes"]]
    width = max(5, *map(len, names))
    lines = [f"{'class':{width}s}{'IoU':>8s}{'Acc':>8s}"]
    lines += [
        f"{name:{width}s}{percent(c['IoU']):>8s}{percent(c['Acc']):>8s}"
        for name, c in zip(names, record["classes"], strict=True)
    ]
    return "\n".join([*lines, "", summary(record)])


def summary(record: dict[str, Any]) -> str:
    """The three figures in one line."""
    asked, failed = record["pictures"]["asked"], len(record["pictures"]["failed"])
    measured = asked - failed
    counts = f"{measured} picture{'' if measured == 1 else 's'}"
    counts += f", {failed} of {asked} could not be measured" if failed else ""
    return "  ".join(f"{name} {percent(value)}" for name, value in record["figures"].items()) + f"  ({counts})"


def describe_configuration(configuration: dict[str, Any]) -> str:
    """The resolved configuration for the terminal; templates and class names are left to the JSON."""
    c = configuration
    sizes = f"short side {c['short_side']}, " + (f"window {c['window']} by {c['stride']}" if c["window"] else "whole picture")
    pamr = f"PAMR {c['pamr_iterations']} x {c['pamr_dilations']}" if c["pamr"] else "no PAMR"
    overrides = ", ".join(f"{name} {value}" for name, value in c["overrides"].items())
    options = ", ".join(f"{name} {value}" for name, value in c["options"].items())
    lines = [
        ("data", f"{DATASETS[c['dataset']].title}, {c['pictures']['count']} pictures, {len(c['classes'])} classes"),
        ("method", f"{c['method']}" + (f" ({options})" if options else "")),
        ("preset", f"{c['preset']}" + (f", overridden: {overrides}" if overrides else "")),
        ("sizes", sizes + (", rounded to whole patches" if c["whole_patches"] else "")),
        ("labels", f"logit scale {c['logit_scale']:g}, prob_thd {c['prob_thd']:g}, area_thd {c['area_thd']:g}, {pamr}"),
        ("names", one_line(c["class_names"])),
        ("model", f"{_model(c)}, {c['activation']}, weights SHA-256 {c['weights_sha256']}"),
        ("dtype", f"{c['dtype']}, the tower's products in {c['precision']}"),
        ("external", f"{c['external']}, weights SHA-256 {c['external_sha256']}" if c["external"] else ""),
        ("backend", f"{c['backend']}, {c['device']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in c["versions"].items())),
    ]
    return "\n".join(f"{name:10s}{text}" for name, text in lines if text)


def markdown_row(record: dict[str, Any]) -> str:
    """One row below `MARKDOWN_HEAD`."""
    published = record["published"]
    asked, failed = record["pictures"]["asked"], len(record["pictures"]["failed"])
    cells = [
        record["dataset"], record["method"], record["backend"], _model(record["configuration"]), str(asked - failed),
        *(percent(value) for value in record["figures"].values()),
        "" if published is None else percent(published["mIoU"]), "; ".join(record["unlike_published"]),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def markdown_table(records: Iterable[dict[str, Any]]) -> str:
    """`MARKDOWN_HEAD` and a row of each record."""
    return "\n".join([*MARKDOWN_HEAD, *map(markdown_row, records)])


def percent(value: float | None) -> str:
    """A share of 0..1 in % with two places, "-" for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def _model(configuration: dict[str, Any]) -> str:
    return " ".join(filter(None, (configuration["model"], configuration["pretrained"])))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

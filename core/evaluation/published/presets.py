"""The settings with which each method's authors evaluate each data set, frozen and named.

From the authors' code for ViT-B/16. A preset is called AUTHORS/DATASET, such as "naclip/voc21". Whose a method takes stands in
its record (`core.methods.registry`), and a composition takes its base's. `naclip-no-pamr` is NACLIP's for methods that were
published without PAMR: it serves those whose papers share no settings, and those that nobody's fit. Whether PAMR is on is the
record's to say, here as in the Segmenter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from core.evaluation.data.datasets import DATASETS, DataSet
from core.evaluation.published.names import class_file
from core.methods.registry import find_method, method_needs, resolve_options
from core.segment.settings import check_given

FALLBACK = "naclip-no-pamr"
THRESHOLDS = ("prob_thd", "area_thd")
"""The settings that make sense only where class 0 is the background."""


@dataclass(frozen=True)
class Authors:
    """What a method's authors set, by the names of `core.segment.settings`: everywhere, and besides on single data sets.

    names: the data sets whose class names are not NACLIP's, and whose they are.
    """

    everywhere: Mapping[str, Any]
    single: Mapping[str, Mapping[str, Any]]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """Settings for one data set, by the names of `core.segment.settings`, and the file of class names they were chosen with."""

    name: str
    class_file: str
    settings: Mapping[str, Any]


_SMALL = {"short_side": 336, "window": 224, "stride": 112}
_PROXY = {"short_side": 336, "window": 336, "stride": 112, "external": "dino"}
_NACLIP = {
    "voc21": {"window": 0, "stride": 0, "prob_thd": 0.1},
    "voc20": {"window": 0, "stride": 0},
    "context60": {"prob_thd": 0.1},
    "coco_object": {"prob_thd": 0.1},
    "cityscapes": {"short_side": 560},
}
_SCCLIP = {
    "voc21": {"logit_scale": 50.0, "prob_thd": 0.15, "area_thd": 0.1},
    "context60": {"prob_thd": 0.15},
    "coco_object": {"logit_scale": 55.0, "prob_thd": 0.35},
    "cityscapes": {"short_side": 560},
}
_PROXYCLIP_NAMES = dict.fromkeys(("voc20", "voc21", "coco_object"), "proxyclip")
AUTHORS: dict[str, Authors] = {
    "naclip": Authors(_SMALL, _NACLIP),
    FALLBACK: Authors(_SMALL, _NACLIP),
    "sclip": Authors(_SMALL, {
        "voc21": {"logit_scale": 65.0, "prob_thd": 0.1, "area_thd": 0.1},
        "context60": {"logit_scale": 50.0, "prob_thd": 0.1},
        "coco_object": {"logit_scale": 50.0, "prob_thd": 0.1},
        "coco_stuff164k": {"short_side": 448},
        "cityscapes": {"short_side": 560},
    }),
    "scclip": Authors(_SMALL, _SCCLIP),
    "sfp": Authors(_SMALL, _SCCLIP | {"ade20k": {"short_side": 384}},
                   dict.fromkeys(("voc20", "voc21", "cityscapes"), "sfp")),
    "proxyclip": Authors(_PROXY, {
        "voc21": {"prob_thd": 0.2},
        "context60": {"prob_thd": 0.15},
        "coco_object": {"prob_thd": 0.25},
        "cityscapes": {"short_side": 448, "window": 224},
        "ade20k": {"short_side": 448},
    }, _PROXYCLIP_NAMES),
    "fsa": Authors(_PROXY, {
        "voc21": {"prob_thd": 0.2},
        "context60": {"prob_thd": 0.14},
        "coco_object": {"prob_thd": 0.3},
        "cityscapes": {"short_side": 448, "window": 224, "stride": 80},
        "ade20k": {"short_side": 448},
    }, _PROXYCLIP_NAMES),
}  # fmt: skip

_COMMON = {"whole_patches": False, "logit_scale": 40.0, "prob_thd": 0.0, "area_thd": 0.0}
"""What all authors share unless they say otherwise; sizes are rounded as mmsegmentation does."""

PRESETS: dict[tuple[str, str], Preset] = {
    (name, dataset): Preset(
        f"{name}/{dataset}",
        class_file(authors.names.get(dataset, "naclip"), dataset).name,
        _COMMON | authors.everywhere | authors.single.get(dataset, {}),
    )
    for name, authors in AUTHORS.items()
    for dataset in DATASETS
}


def preset_for(method: str, dataset: str) -> Preset:
    """The preset under which a method or composition is evaluated, with PAMR as the record of its base has it.

    The external model that a preset names is left out where the method reads none. Raises InputError when there is no such
    method.
    """
    record, _ = find_method(method)
    preset = PRESETS[_authors_of(method), dataset]
    settings = {**preset.settings, "pamr": record.pamr}
    if "external" not in method_needs(method):
        settings.pop("external", None)
    return Preset(preset.name, preset.class_file, settings)


def named_preset(name: str, method: str | None = None) -> tuple[str, Preset]:
    """The preset AUTHORS/DATASET, or METHOD/DATASET of any method or composition, and the method that it is taken for.

    method: one that is named beside the preset; otherwise it is the preset's own, and naclip's for the presets that were made
    of NACLIP's. The external model is left out where the method reads none, and PAMR is as the method's record has it; but
    `naclip-no-pamr` says itself that it is off. Raises InputError for a name that is no preset's.
    """
    authors, _, dataset = name.rpartition("/")
    if dataset not in DATASETS or not authors:
        known = f"AUTHORS: {', '.join(AUTHORS)}, or any method; DATASET: {', '.join(DATASETS)}"
        raise InputError(f"there is no preset {name!r}: it is AUTHORS/DATASET, such as naclip/voc21. {known}")
    preset = PRESETS.get((authors, dataset)) or preset_for(authors, dataset)
    method = method or ("naclip" if authors == FALLBACK else authors)
    settings = {**preset.settings, "pamr": find_method(method)[0].pamr and authors != FALLBACK}
    if "external" not in method_needs(method):
        settings.pop("external", None)
    return method, Preset(preset.name, preset.class_file, settings)


def preset_note(method: str) -> str | None:
    """What is to be said of a method without a preset, one line; None where its record names one."""
    record, parts = find_method(method)
    if not parts and record.preset in AUTHORS:
        return None
    return f"{method} has no preset of its own: it is measured with {_authors_of(method)}'s"


def check_overrides(method: str, dataset: DataSet, overrides: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Judges settings that go before the preset's, and the method's options, before anything is loaded.

    Raises InputError for a threshold where no class is the background, and where `core.segment.settings.check_given` does.
    """
    for name in THRESHOLDS:
        if overrides.get(name) and not dataset.has_background:
            raise InputError(f"{name} is a threshold against the background, and {dataset.name} has none: leave it out")
    resolve_options(method, options)  # of which none may be a setting's name
    check_given(method, {**overrides, **options}, preset_for(method, dataset.name).settings)


def _authors_of(method: str) -> str:
    record, _ = find_method(method)
    return record.preset if record.preset in AUTHORS else FALLBACK

"""The settings with which each method's authors evaluate each data set, frozen and named, and their published figures.

From the authors' code for ViT-B/16. A preset is called AUTHORS/DATASET, such as "naclip/voc21". `naclip-no-pamr` is NACLIP's
without PAMR; it serves vanilla, maskclip and clearclip, whose papers share no settings. A composition takes its base's.
"""

from dataclasses import asdict, dataclass
from typing import Any

from core.errors import InputError
from core.evaluation.data.datasets import DATASETS, DataSet
from core.evaluation.published.names import class_file
from core.methods import method_options
from core.methods.compose import split_name


@dataclass(frozen=True)
class Preset:
    """Settings of the Segmenter for one data set, and the file of class names they were chosen with.

    short_side, window, stride in pixels; window 0 sees the picture whole. Thresholds: see `core.segment.prediction.label_pixels`.
    external: the vision model that proxyclip and fsa read. Sizes are rounded as mmsegmentation does (whole_patches False).
    """

    name: str
    class_file: str
    short_side: int
    window: int
    stride: int
    logit_scale: float = 40.0
    prob_thd: float = 0.0
    area_thd: float = 0.0
    pamr: bool = False
    external: str | None = None

    def settings(self) -> dict[str, Any]:
        """The Segmenter's keywords; a stride only with a window."""
        own = {k: v for k, v in asdict(self).items() if k not in ("name", "class_file")}
        return own | {"stride": self.stride or None, "whole_patches": False}


_SCCLIP = {
    "voc21": {"logit_scale": 50.0, "prob_thd": 0.15, "area_thd": 0.1},
    "context60": {"prob_thd": 0.15},
    "coco_object": {"logit_scale": 55.0, "prob_thd": 0.35},
    "cityscapes": {"short_side": 560},
}
_NACLIP = {
    "voc21": {"window": 0, "stride": 0, "prob_thd": 0.1},
    "voc20": {"window": 0, "stride": 0},
    "context60": {"prob_thd": 0.1},
    "coco_object": {"prob_thd": 0.1},
    "cityscapes": {"short_side": 560},
}
_SMALL = {"short_side": 336, "window": 224, "stride": 112}
_PROXY = {"short_side": 336, "window": 336, "stride": 112, "external": "dino"}
_ROWS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "naclip": (_SMALL | {"pamr": True}, _NACLIP),
    "naclip-no-pamr": (_SMALL, _NACLIP),
    "sclip": (_SMALL, {
        "voc21": {"logit_scale": 65.0, "prob_thd": 0.1, "area_thd": 0.1},
        "context60": {"logit_scale": 50.0, "prob_thd": 0.1},
        "coco_object": {"logit_scale": 50.0, "prob_thd": 0.1},
        "coco_stuff164k": {"short_side": 448},
        "cityscapes": {"short_side": 560},
    }),
    "scclip": (_SMALL, _SCCLIP),
    "sfp": (_SMALL, _SCCLIP | {"ade20k": {"short_side": 384}}),
    "proxyclip": (_PROXY, {
        "voc21": {"prob_thd": 0.2},
        "context60": {"prob_thd": 0.15},
        "coco_object": {"prob_thd": 0.25},
        "cityscapes": {"short_side": 448, "window": 224},
        "ade20k": {"short_side": 448},
    }),
    "fsa": (_PROXY, {
        "voc21": {"prob_thd": 0.2},
        "context60": {"prob_thd": 0.14},
        "coco_object": {"prob_thd": 0.3},
        "cityscapes": {"short_side": 448, "window": 224, "stride": 80},
        "ade20k": {"short_side": 448},
    }),
}  # fmt: skip
"""For each authors what they set everywhere, and what besides on single data sets."""

_BORROWED = dict.fromkeys(("vanilla", "maskclip", "clearclip"), "naclip-no-pamr")

PRESETS: dict[tuple[str, str], Preset] = {
    (authors, dataset): Preset(
        f"{authors}/{dataset}", class_file(authors, dataset).name, **(everywhere | own.get(dataset, {}))
    )
    for authors, (everywhere, own) in _ROWS.items()
    for dataset in DATASETS
}

_ORDER = ("voc21", "context60", "coco_object", "voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k")
PUBLISHED: dict[str, dict[str, float]] = {
    "naclip": dict(zip(_ORDER, (64.07, 34.99, 36.19, 83.03, 38.35, 25.69, 38.27, 19.05), strict=True)),
    "sclip": dict(zip(_ORDER, (59.63, 31.74, 33.52, 81.54, 34.46, 22.77, 32.34, 16.45), strict=True)),
}
"""mIoU in % as each project's own README has it, of OpenAI's ViT-B/16, naclip's with PAMR; of others none is kept here."""


def preset_for(method: str, dataset: str) -> Preset:
    """The preset under which a method or composition is evaluated; its authors', its base's, or `naclip-no-pamr`.

    Raises InputError when there is no such method.
    """
    method_options(method)
    base, _ = split_name(method)
    return PRESETS[_BORROWED.get(base, base), dataset]


def resolve(method: str, dataset: DataSet, overrides: dict[str, Any]) -> dict[str, Any]:
    """The Segmenter's settings: the preset's, over them the overrides (those that are not None).

    A window without a stride gets the stride that the Segmenter gives it. Raises InputError for an unknown method and for a
    threshold where no class is the background.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    for name in ("prob_thd", "area_thd"):
        if chosen.get(name) and not dataset.has_background:
            raise InputError(f"{name} is a threshold against the background, and {dataset.name} has none: leave it out")
    settings = preset_for(method, dataset.name).settings()
    if "window" in chosen and "stride" not in chosen:
        settings["stride"] = None
    return settings | chosen

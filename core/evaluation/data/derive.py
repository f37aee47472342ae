"""Labels that are derived from others: train ids from the ids of COCO's stuff-thing maps and of Cityscapes.

COCO: the maps of `stuffthingmaps_trainval2017.zip` (`annotations/val2017/000000000139.png`) hold COCO's category id less
one: 0 person .. 89 toothbrush, 91..181 stuff, 255 unlabelled (the cocostuff project's "Caffe-compatible" maps, which
mmsegmentation's converter reads too; its labels.txt counts from 1). Eleven of the ids 1..91 have no class, so that
the 171 that are left are numbered anew: `_labelTrainIds.png`, 0..170 and 255. COCO-Object keeps the 80 things as 1..80 and
calls all else 0, background, the unlabelled too: `_instanceTrainIds.png` (Xu et al., GroupViT, CVPR 2022).

Cityscapes: 19 of the ids in `_gtFine_labelIds.png` are evaluated (Cordts et al., CVPR 2016); all others become 255.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.evaluation.data.datasets import DATASETS, Sample, find_samples, missing_labels
from core.evaluation.data.values import read_label, write_label
from core.evaluation.metrics import IGNORED
from core.files.writing import make_folder
from core.notes import one_line

N_THINGS = 80
NO_COCO_CLASS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""COCO's category ids, counted from 1, that no picture shows."""

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The ids of the 19 evaluated classes, road to bicycle, in the order of their train ids."""

NONE = -1  # in a table: a value that the source cannot hold


def _table(pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    table = np.full(256, NONE)
    for value, derived in pairs:
        table[value] = derived
    return table


def _tables() -> dict[str, dict[str, np.ndarray]]:
    """For each data set the endings of possible sources, the best first, and the table (256,) from theirs to its values."""
    ids = [index for index in range(182) if index + 1 not in NO_COCO_CLASS]
    train_ids = _table([*((value, train) for train, value in enumerate(ids)), (IGNORED, IGNORED)])
    things = _table([*((train, train + 1 if train < N_THINGS else 0) for train in range(len(ids))), (IGNORED, 0)])
    known = train_ids != NONE
    objects = np.where(known, things[np.where(known, train_ids, 0)], NONE)
    city = _table((value, IGNORED) for value in range(34))
    city[list(CITYSCAPES_IDS)] = range(len(CITYSCAPES_IDS))
    return {
        "coco_stuff164k": {".png": train_ids},
        "coco_object": {".png": objects, "_labelTrainIds.png": things},
        "cityscapes": {"_gtFine_labelIds.png": city},
    }


TABLES = _tables()


def derive_labels(name: str, root: str | os.PathLike) -> tuple[int, int]:
    """Write the labels that are missing of coco_object, coco_stuff164k or cityscapes below `root`.

    Gives how many were written and how many were there. Each appears whole or not at all, so that a run that was cut short
    goes on. Raises InputError for other data sets, a source that is missing or holds values that it cannot hold.
    """
    if name not in TABLES:
        raise InputError(f"--derive-labels is for {', '.join(TABLES)}; labels of {name}: {DATASETS[name].advice}")
    samples = find_samples(DATASETS[name], root, labelled=False)
    missing = missing_labels(samples)
    for folder in {sample.label.parent for sample in missing}:
        make_folder(folder)
    for sample in missing:
        _derive(name, sample)
    return len(missing), len(samples) - len(missing)


def _derive(name: str, sample: Sample) -> None:
    source, table = _source(name, sample)
    values = read_label(source)
    if values.max() > 255 or (table[values] == NONE).any():
        found = sorted(set(np.unique(values).tolist()) - set(np.flatnonzero(table != NONE).tolist()))
        held = ", ".join(map(str, found[:5]))
        raise InputError(one_line(f"{source} holds {held}, which it cannot: is it another kind of label?"))
    write_label(sample.label, table[values].astype(np.uint8))


def _source(name: str, sample: Sample) -> tuple[Path, np.ndarray]:
    """The label picture to derive from, and the table."""
    stem = sample.label.name.removesuffix(DATASETS[name].labels[1])
    places = [(sample.label.with_name(f"{stem}{ending}"), table) for ending, table in TABLES[name].items()]
    for path, table in places:
        for spelt in (path, path.with_suffix(".PNG")):
            if os.path.isfile(spelt):
                return spelt, table
    wanted = " or ".join(str(path) for path, _ in places)
    raise InputError(one_line(f"{name}: nothing to derive {sample.label.name} from; looked for {wanted}"))

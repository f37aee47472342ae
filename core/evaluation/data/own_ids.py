"""Classes as a data set's own label pictures and its server have them, for labels that are handed in.

VOC 0..20, of voc20 1..20, with VOC's palette. ADE20K and context59 1..C, context60 0..59. Cityscapes: the ids of labelIds, 7
road to 33 bicycle. COCO-Stuff and COCO-Object: the values of the stuff-thing maps, which are COCO's category ids less one, 0
person to 181 wood; COCO-Object's background is 255.
"""

from pathlib import Path

import numpy as np

from core.evaluation.data.datasets import DataSet
from core.evaluation.data.derive import TABLES
from core.evaluation.data.values import write_label
from core.evaluation.metrics import IGNORED


def own_ids(dataset: DataSet) -> np.ndarray:
    """(C,) uint8: what the data set calls the classes 0..C-1."""
    if dataset.name not in TABLES:
        return np.arange(dataset.n_classes, dtype=np.uint8) + np.uint8(dataset.reduce_zero)
    table = next(iter(TABLES[dataset.name].values()))
    sources = [np.flatnonzero(table == index) for index in range(dataset.n_classes)]
    return np.array([source[0] if len(source) == 1 else IGNORED for source in sources], dtype=np.uint8)


def write_own(path: Path, labels: np.ndarray, dataset: DataSet, text: dict[str, str] | None = None) -> None:
    """Write labels (H, W), class indices, as the data set's own ids: a grey PNG, VOC's with its palette; whole or not at all.

    text: kept in the PNG, by key. Raises InputError when it cannot be written.
    """
    palette = voc_palette() if dataset.name.startswith("voc") else None
    write_label(path, own_ids(dataset)[labels], palette, text)


def voc_palette() -> bytes:
    """R, G, B of the 256 indices in the VOC devkit's colour map: bit 3 i + channel of the index is bit 7 - i of the colour."""
    index = np.arange(256)[:, None] >> np.arange(3)
    colours = sum((index >> 3 * i & 1) << (7 - i) for i in range(3))
    return colours.astype(np.uint8).tobytes()

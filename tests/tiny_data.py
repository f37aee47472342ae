"""Tiny data sets in the eight layouts, of scenes with random truth, as `core.evaluation.data.datasets` reads them."""

from pathlib import Path

import numpy as np
from PIL import Image

from core.evaluation.data.datasets import DATASETS
from core.scenes import benchmark_scenes

SIZE = (96, 128)
HOMES = {"voc21": "VOCdevkit/VOC2012", "voc20": "VOC2012", "context60": "VOCdevkit/VOC2010", "context59": "VOC2010",
         "ade20k": "ADEChallengeData2016"}  # fmt: skip
STEMS = {"voc": "2007_{:06d}", "context": "2008_{:06d}", "coco": "{:012d}", "ade20k": "ADE_val_{:08d}"}


def values_on_disk(name, rng, size=SIZE):
    """(H, W) random blocks of the values that labels of a data set hold on disk: classes, the ignored and the background."""
    dataset = DATASETS[name]
    values = list(range(dataset.n_classes + dataset.reduce_zero)) + [255] * dataset.ignores
    blocks = rng.choice(values, (size[0] // 16, size[1] // 16))
    return np.kron(blocks, np.ones((16, 16), dtype=int)).astype(np.uint8)


def make(name, root, n=3, kind=None, seed=0):
    """Write a tiny data set below root; kind: "palette", "grey" or "16 bit" labels; gives the folder that holds it."""
    dataset, rng = DATASETS[name], np.random.default_rng(seed)
    home = Path(root) / HOMES.get(name, "")
    stems = [stem(name, i) for i in range(n)]
    for one, scene in zip(stems, benchmark_scenes(seed, n, "seen", SIZE), strict=True):
        picture = home / dataset.pictures[0] / f"{one}{dataset.pictures[1]}"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(picture)
        write_label(home / dataset.labels[0] / f"{one}{dataset.labels[1]}", values_on_disk(name, rng), kind or usual(name))
    if dataset.listing:
        listing = home / dataset.listing
        listing.parent.mkdir(parents=True)
        listing.write_text("".join(f"{one}\n" for one in stems))
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home / dataset.pictures[0] / "not_listed.jpg")
    return home


def stem(name, index):
    if name == "cityscapes":
        city = ("lindau", "frankfurt")[index % 2]
        return f"{city}/{city}_{index:06d}_000019"
    return next(form for start, form in STEMS.items() if name.startswith(start)).format(index + 33)


def usual(name):
    return "palette" if name.startswith("voc") else "grey"


def write_label(path, values, kind="grey"):
    """A label picture: palette PNG, one grey channel of 8 bits, or of 16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "16 bit":
        Image.fromarray(values.astype(np.uint16)).save(path)
        return
    image = Image.fromarray(values)
    if kind == "palette":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path)

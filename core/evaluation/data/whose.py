"""Whose labels these are, told by the values that several of them hold: another data set's may lie under the right names.

Values out of the data set's range are an error, which `labels` finds. What lies in it and is wrong all the same is told here:
labels of fewer classes, whose values keep to a smaller range, and labels whose zeros were reduced already.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from core.evaluation.data.datasets import DATASETS, DataSet, Sample
from core.evaluation.data.derive import CITYSCAPES_IDS, NO_COCO_CLASS
from core.evaluation.metrics import IGNORED

SURE = 1e-3
"""How likely it may be at most that labels of the data set's own happen to keep to another's range."""

ALIKE = 1.5
"""How many times the values of the best fitting kind another may hold to be named beside it."""

MOST_NAMED = 3


class Look(NamedTuple):
    """What was seen of a label: the values that it holds, and the share of its pixels that hold 255."""

    sample: Sample
    values: frozenset[int]
    ignored: float


def look(sample: Sample, values: np.ndarray) -> Look:
    """What is seen of a label (H, W), as it lies on disk."""
    return Look(sample, frozenset(np.unique(values).tolist()), float((values == IGNORED).mean()))


def values_of(dataset: DataSet) -> frozenset[int]:
    """The values that labels of a data set hold on disk."""
    return frozenset([*range(dataset.n_classes + dataset.reduce_zero), *[IGNORED] * dataset.ignores])


def _ranges() -> dict[str, frozenset[int]]:
    ranges = {name: values_of(dataset) for name, dataset in DATASETS.items()}
    ranges["Cityscapes' labelIds"] = frozenset(range(max(CITYSCAPES_IDS) + 1))
    ranges["COCO's stuff-thing maps"] = frozenset({i for i in range(182) if i + 1 not in NO_COCO_CLASS} | {IGNORED})
    return dict(sorted(ranges.items(), key=lambda entry: len(entry[1])))


RANGES = _ranges()
"""The values of each kind of labels, the smallest range first."""


def fitting(dataset: DataSet, values: Collection[int]) -> list[str]:
    """The kinds of labels, but for the data set's own, that may hold all of these values."""
    own = values_of(dataset)
    return [name for name, held in RANGES.items() if held != own and held.issuperset(values)]


def better(dataset: DataSet, values: Collection[int]) -> list[str]:
    """Kinds whose range is so much smaller than the data set's that so many different values keep to it hardly by chance.

    A kind that has 255 needs it to be seen, as its labels have it everywhere. Kinds of far more values than the first are left
    out.
    """
    own = values_of(dataset) - {IGNORED}
    n_classes = len(set(values) - {IGNORED})

    def is_better(held: frozenset[int]) -> bool:
        chance = (len(held & own) / len(own)) ** n_classes
        return chance < SURE and (IGNORED in values) == (IGNORED in held)

    kinds = [name for name in fitting(dataset, values) if is_better(RANGES[name])]
    return [name for name in kinds if len(RANGES[name]) <= ALIKE * len(RANGES[kinds[0]])]


def doubts(dataset: DataSet, looks: Sequence[Look]) -> Iterator[str]:
    """What several labels say of being another data set's, or reduced already."""
    seen = frozenset().union(*(one.values for one in looks))
    kinds = better(dataset, seen)
    looked_at = f"the {len(looks)} labels of {dataset.name} that were looked at"
    if kinds and len(looks) > 1:
        classes = seen - {IGNORED}
        rest = f" and {IGNORED}" if IGNORED in seen else ""
        fit = " or ".join(kinds[:MOST_NAMED])
        yield f"{looked_at} hold nothing but {min(classes)}..{max(classes)}{rest}: they fit {fit} better ({dataset.advice})"
    ignored = float(np.mean([one.ignored for one in looks]))
    without_zero = sum(0 not in one.values for one in looks)
    if dataset.ignores and (dataset.reduce_zero or dataset.has_background) and ignored > 0.5 and 2 * without_zero > len(looks):
        yield (
            f"{looked_at} are {IGNORED} in {100 * ignored:.0f} % of their pixels and seldom 0: if their zeros were reduced "
            f"already, every class is off by one ({dataset.advice})"
        )

"""The labels and overlays of a run, a file for each picture, complete also after a run that was killed.

Each PNG says in itself which run it is of and of which files, so that a later run knows those that it need not make again, and
never takes another run's, or a data set's own labels, for its own.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.data.own_ids import write_own
from core.evaluation.data.values import write_picture
from core.files.writing import make_folder
from core.notes import one_line
from core.results.overlay import draw_overlay

MARK = "jittor-ovseg run"
"""The key of the PNG's text that holds a digest of the run's configuration and one of the picture's and label's bytes."""

ALPHA = 0.5  # of the class colours in an overlay, as in segment.py's


@dataclass(frozen=True)
class Wanted:
    """Where a run's labels `STEM.png`, in the data set's own ids, and its overlays `STEM_overlay.png` go; None: they do not."""

    labels: Path | None = None
    overlays: Path | None = None


class Predictions:
    """What is written of each picture of a run beside its figures.

    configuration: all that decides the figures. names: the C classes, for the overlays' legend.

    Raises InputError for a folder that cannot be written to or is the data set's own.
    """

    def __init__(
        self,
        wanted: Wanted,
        dataset: DataSet,
        samples: Sequence[Sample],
        configuration: Mapping[str, Any],
        names: Sequence[str],
    ) -> None:
        self._dataset, self._samples, self._names = dataset, samples, names
        self._kinds = {"": wanted.labels, "_overlay": wanted.overlays}
        self._kinds = {ending: folder for ending, folder in self._kinds.items() if folder is not None}
        text = json.dumps(configuration, sort_keys=True, ensure_ascii=True)
        self._run = hashlib.sha256(text.encode()).hexdigest()
        for folder in self._kinds.values():
            _check_folder(make_folder(folder), samples)

    def check_free(self, restart: bool) -> None:
        """Raises InputError where a file is in the way that another run wrote, unless to `restart`, or something else."""
        for path in self._all_there():
            mark = _mark(path)
            if mark is None:
                raise InputError(one_line(f"{path} is there and was not written by this command: name another folder"))
            if not restart and mark.split()[:1] != [self._run]:
                raise InputError(one_line(f"{path} is of another run: begin anew with --restart, or name another folder"))

    def remove(self) -> None:
        """Removes what there is of the run's pictures."""
        for path in self._all_there():
            path.unlink(missing_ok=True)

    def complete(self, sample: Sample, files: str | None) -> bool:
        """Whether a picture needs nothing more: `files` were measured, and all that is wanted of them is there."""
        return files is not None and all(_mark(path) == f"{self._run} {files}" for path in self._paths(sample).values())

    def write(self, sample: Sample, image: np.ndarray, labels: np.ndarray, files: str) -> None:
        """Write what is wanted of a picture (H, W, 3) uint8 with labels (H, W); files: a digest of its and its label's bytes.

        Each file appears whole or not at all. Raises InputError when one cannot be written.
        """
        told = {MARK: f"{self._run} {files}"}
        for ending, path in self._paths(sample).items():
            if ending:
                write_picture(path, draw_overlay(image, labels, self._legend(labels), ALPHA), told)
            else:
                write_own(path, labels, self._dataset, told)

    def _paths(self, sample: Sample) -> dict[str, Path]:
        stem = Path(sample.name).name  # without the CITY/ of Cityscapes, which its server does not want
        return {ending: folder / f"{stem}{ending}.png" for ending, folder in self._kinds.items()}

    def _legend(self, labels: np.ndarray) -> list[tuple[int, str, float]]:
        """The classes that a picture shows, the largest first: index, name and share."""
        counts = np.bincount(labels.ravel(), minlength=len(self._names))
        order = sorted(np.flatnonzero(counts).tolist(), key=lambda index: -counts[index])
        return [(index, self._names[index], float(counts[index] / labels.size)) for index in order]

    def _all_there(self) -> Iterator[Path]:
        paths = (path for sample in self._samples for path in self._paths(sample).values())
        return (path for path in paths if os.path.lexists(path))


def _check_folder(folder: Path, samples: Sequence[Sample]) -> None:
    own = {os.path.realpath(path.parent) for sample in samples for path in (sample.picture, sample.label)}
    if os.path.realpath(folder) in own:
        raise InputError(one_line(f"{folder} holds the data set's own pictures or labels: name another folder"))


def _mark(path: Path) -> str | None:
    """Which run and files a PNG is of; None for one that is missing, damaged, or says nothing."""
    from PIL import Image

    if not os.path.isfile(path):
        return None
    try:
        with Image.open(path, formats=("PNG",)) as image:
            mark = image.info.get(MARK)
            image.verify()
    except Exception:  # a damaged file makes Pillow's readers raise many kinds, SyntaxError among them
        return None
    return mark if isinstance(mark, str) and mark else None

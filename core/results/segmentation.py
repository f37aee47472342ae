"""What a segmentation gives: labels and probabilities, drawn, counted and saved."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.files.reading import read_json
from core.files.writing import file_set
from core.results.colours import class_colours
from core.results.overlay import draw_overlay

if TYPE_CHECKING:
    from PIL import Image

_MOST_PALETTE_CLASSES = 255
_MOST_CLASSES = 65536
_OUTLASTS = "_features.npz"
"""How the name ends of what the tower made of a picture: it holds for every further result of that picture, words or method."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented picture, validated when made.

    labels: (H, W) integers, the index into `classes` of each pixel's class.
    scores: (C, H, W) float32, the probability of each class; they sum to 1 over C.
    classes: the C class names, all different.
    image: (H, W, 3) uint8 RGB, the picture itself.

    Raises InputError when these do not fit together. A label need not be its pixel's largest score: the thresholds
    `prob_thd` and `area_thd` change labels only.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]
    image: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes, types and ranges."""
        problem = next(_problems(self), None)
        if problem:
            raise InputError(f"not a segmentation: {problem}")

    def shares(self) -> dict[str, float]:
        """The share of the pixels of each class, 0..1, in the order of `classes`."""
        counts = np.bincount(self.labels.ravel().astype(np.intp), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / self.labels.size).tolist(), strict=True))

    def overlay(self, alpha: float = 0.5) -> "Image.Image":
        """Draw a copy of the picture in class colours, with white contours and a legend of the classes present.

        alpha: weight of the class colours, from 0 (the picture) to 1 (the colours).

        The picture fades to grey as alpha grows, so that its own colours do not pass for classes. Pictures
        under 480 pixels are enlarged by a whole factor, so that the legend fits. The legend has the largest class
        first; Pillow's own font knows Latin letters only, so other names (Chinese, say) appear as "class INDEX".

        Raises InputError for an alpha outside 0..1.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha must be from 0 to 1, not {alpha}")
        shares = self.shares()
        present = [(index, name, shares[name]) for index, name in enumerate(self.classes) if shares[name]]
        return draw_overlay(self.image, self.labels, sorted(present, key=lambda entry: -entry[2]), alpha)

    def label_image(self) -> "Image.Image":
        """The labels as a picture of mode "P" with the class colours as palette; above 255 classes, "I;16" grey."""
        from PIL import Image

        if len(self.classes) > _MOST_PALETTE_CLASSES:
            return Image.fromarray(self.labels.astype(np.uint16))
        picture = Image.fromarray(self.labels.astype(np.uint8))
        picture.putpalette(class_colours(len(self.classes)).tobytes())
        return picture

    def save(
        self,
        folder: str | os.PathLike,
        stem: str,
        scores: bool = False,
        configuration: dict | None = None,
        more: Mapping[str, Callable[[Path], object]] | None = None,
    ) -> list[Path]:
        """Write `STEM_overlay.png`, `STEM_labels.png`, `STEM.json`, with `scores` `STEM_scores.npz`; give the paths.

        folder: made when missing. configuration: anything JSON can hold, kept in the JSON file beside the classes,
        their shares and the names of the other files. more: further files `STEM_KEY`, each written by its value.

        The files change at one moment, the JSON file going first and coming last (`core.files.writing.file_set`): one process
        at a time; if anything fails, the folder is as it was. What else an earlier result of this stem had goes with it, its
        scores or drawings, which would pass for this one's; but its features stay.

        Raises OSError when writing fails, InputError for a bad stem.
        """
        if not stem or Path(stem).name != stem:
            raise InputError(f"a stem must be a file name without folders, not {stem!r}")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        more = more or {}
        kinds = ("overlay.png", "labels.png", *(("scores.npz",) if scores else ()), *more)
        names = {kind: f"{stem}_{kind}" for kind in kinds}
        record = {
            "classes": list(self.classes),
            "shares": self.shares(),
            "size": {"height": self.labels.shape[0], "width": self.labels.shape[1]},
            "configuration": configuration,
            "files": list(names.values()),
        }
        every = [*names.values(), f"{stem}.json"]
        with file_set(folder, every, lambda report: _named_in(report, stem)) as temporary:
            self.overlay().save(temporary[names["overlay.png"]])
            self.label_image().save(temporary[names["labels.png"]])
            if scores:
                np.savez(temporary[names["scores.npz"]], scores=self.scores, classes=np.array(self.classes))
            for kind, write in more.items():
                write(temporary[names[kind]])
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
            temporary[every[-1]].write_bytes((text + "\n").encode("utf-8", errors="backslashreplace"))
        return [folder / name for name in every]


def _named_in(report: Path, stem: str) -> list[str]:
    """The files of an earlier result of this stem, by its JSON file, but for those that outlast it."""
    try:
        files = read_json(report)["files"]
        return [name for name in files if _is_part(name, stem) and not name.endswith(_OUTLASTS)]
    except (InputError, KeyError, TypeError):  # there is none, or it is another program's
        return []


def _is_part(name: object, stem: str) -> bool:
    return isinstance(name, str) and name.startswith(f"{stem}_") and Path(name).name == name


def _problems(result: Segmentation) -> Iterator[str]:
    """Yield what is wrong with a segmentation, the basic things first; later checks rely on earlier ones."""
    labels, scores, classes, image = result.labels, result.scores, result.classes, result.image
    for name, array in (("labels", labels), ("scores", scores), ("image", image)):
        if not isinstance(array, np.ndarray):
            yield f"{name} must be a NumPy array, not {type(array).__name__}"
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) and name for name in classes):
        yield "classes must be a list of names, at least one, none of them empty"
    if len(set(classes)) != len(classes):
        yield "a class name stands twice in classes"
    if len(classes) > _MOST_CLASSES:
        yield f"there are {len(classes)} classes; at most {_MOST_CLASSES} can be told apart in a 16-bit picture"
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        yield f"labels must be (H, W) integers, not {labels.shape} {labels.dtype}"
    if scores.shape != (len(classes), *labels.shape) or scores.dtype != np.float32:
        yield f"scores must be {(len(classes), *labels.shape)} float32, not {scores.shape} {scores.dtype}"
    if image.shape != (*labels.shape, 3) or image.dtype != np.uint8:
        yield f"image must be {(*labels.shape, 3)} uint8, not {image.shape} {image.dtype}"
    if labels.min() < 0 or labels.max() >= len(classes):
        yield f"labels must be from 0 to {len(classes) - 1}, not {labels.min()} to {labels.max()}"
    # NaN fails both comparisons.
    if not (scores.min() >= 0 and np.abs(scores.sum(axis=0) - 1).max() <= 1e-3):
        yield "scores must be probabilities: none negative, sum 1 over the classes"

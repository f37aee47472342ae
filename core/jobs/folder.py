"""Pictures segmented one after another into a folder: one that is bad is told of, and the others go on."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.clip.features import ClipFeatures
from core.errors import SURVIVED, InputError, reason_of
from core.explain.look import check_place
from core.explain.sheets import explain
from core.files.reading import read_json
from core.results.segmentation import Segmentation
from core.segment.pictures import read_picture
from core.segment.query import Query
from core.segment.segmenter import Segmenter

ENDINGS = ("_overlay.png", "_labels.png", "_scores.npz", "_attention.png", "_outliers.png", "_repair.png", "_feedback.png",
           "_features.npz", ".json")  # fmt: skip
"""How the files of a picture may end, behind its stem."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every picture.

    folder: where the files go. scores: the probabilities too. explain: drawings of what the method saw, of the patch at the
    pixel `explain_at` (row, column). save_features: what the tower made of the picture. features: that from an earlier pass, of
    the one picture. facts: written beside the Segmenter's configuration.
    """

    folder: Path
    scores: bool = False
    explain: bool = False
    explain_at: tuple[int, int] | None = None
    save_features: bool = False
    features: ClipFeatures | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a picture: a result and its files, or the reason why there is none, in one line."""

    picture: str
    result: Segmentation | None = None
    paths: Sequence[Path] = ()
    error: str | None = None


def segment_pictures(
    pictures: Sequence[str], stems: Sequence[str], start: Callable[[], tuple[Segmenter, Query]], wanted: Wanted
) -> Iterator[Outcome]:
    """Segments each picture and writes its files STEM_... , and yields what came of it before it turns to the next.

    stems: see `choose_stems`. start: makes the Segmenter and the words ready. It is called when a picture has been read, as
    loading takes a while; what it raises ends everything, as it would spoil every picture alike.
    """
    begun: tuple[Segmenter, Query] | None = None
    for picture, stem in zip(pictures, stems, strict=True):
        try:
            image = read_picture(picture)
        except SURVIVED as error:
            reason = reason_of(error, "make the picture smaller")
            yield Outcome(picture, error=reason if isinstance(error, InputError) else f"{picture}: {reason}")
            continue
        try:
            begun = begun or start()
        except (MemoryError, RuntimeError) as error:  # beside a smaller picture there may be room for the model
            yield Outcome(picture, error=f"{picture}: {reason_of(error, 'make the picture smaller')}")
            continue
        try:
            outcome = segment_one(*begun, picture, image, stem, wanted)
        except SURVIVED as error:
            reason = reason_of(error, "make the picture, or the short side, smaller")
            outcome = Outcome(picture, error=f"{picture}: {reason}")
        yield outcome


def segment_one(segmenter: Segmenter, query: Query, picture: str, image: np.ndarray, stem: str, wanted: Wanted) -> Outcome:
    """A picture (H, W, 3) uint8 that has been read, segmented and written.

    The tower's pass over the picture serves its drawings too, unless it was seen through windows, and the drawings are of one
    pass over the whole.
    """
    check_place(wanted.explain_at, image)
    whole = len(segmenter.view(image).boxes) == 1
    features = wanted.features
    if features is None and (wanted.save_features or (wanted.explain and whole)):
        features = segmenter.picture_features(image)
    result = segmenter(image, query, features)
    more: dict[str, Callable[[Path], object]] = {}
    if wanted.save_features:
        more["features.npz"] = features.save
    if wanted.explain:
        drawings = explain(segmenter, image, query, wanted.explain_at, features if whole else None)
        more |= {f"{name}.png": drawing.save for name, drawing in drawings.items()}
    facts = {"picture": picture, **segmenter.configuration(), **wanted.facts}
    try:
        paths = result.save(wanted.folder, stem, scores=wanted.scores, configuration=facts, more=more)
    except OSError as error:
        place = f"{wanted.folder}: {error.filename}" if error.filename else wanted.folder
        raise InputError(f"its results cannot be written to {place}: {error.strerror or error}") from None
    return Outcome(picture, result, paths)


def choose_stems(pictures: Sequence[str], folder: Path) -> list[str]:
    """One stem for the results of each picture: its own, or with -2, -3... where that is taken.

    Taken: by a picture before it, whatever the case, or because a result would overwrite one of the pictures.
    """
    sources = {os.path.realpath(picture) for picture in pictures}
    stems: list[str] = []
    taken: set[str] = set()
    for picture in pictures:
        own = stem = Path(picture).stem
        number = 1
        while stem.casefold() in taken or _overwrites(sources, folder, stem):
            number += 1
            stem = f"{own}-{number}"
        stems.append(stem)
        taken.add(stem.casefold())
    return stems


def _overwrites(sources: set[str], folder: Path, stem: str) -> bool:
    return not sources.isdisjoint(os.path.realpath(folder / f"{stem}{ending}") for ending in ENDINGS)


def overwritten(picture: str, stem: str, folder: Path) -> str | None:
    """What the results of a picture would overwrite that is not its own, for a person; None where there is no such thing.

    Told by the JSON file that stands there: the picture that it names is another, or it is no result's.
    """
    report = folder / f"{stem}.json"
    if not os.path.lexists(report):
        return None
    try:
        earlier = read_json(report)["configuration"]["picture"]
        same = earlier == picture or os.path.realpath(earlier) == os.path.realpath(picture)
    except (ValueError, KeyError, TypeError):  # ValueError: not to be read as JSON, or no name of a file
        return f"{report}, which is no picture's results"
    return None if same else f"those of {earlier} in {folder}"

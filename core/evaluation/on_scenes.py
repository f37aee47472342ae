"""The embedded benchmark: procedural scenes that training never saw, drawn from a seed, seen and held-out pairs apart.

Object IoU is the mean IoU over the objects of a picture, then the mean over the pictures. The classes to choose from are
the objects, the background, and four that are not there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from core.clip.model import ClipModel
from core.clip.view import to_pixels
from core.evaluation.compositions import measured_methods, reads_external
from core.evaluation.metrics import object_iou
from core.methods.registry import METHODS
from core.progress import Progress
from core.scenes import HELD_OUT, PAIRS, Scene, benchmark_scenes, single_object_scenes
from core.segment.segmenter import Segmenter

SIZE = (128, 128)
KINDS = ("seen", "held_out")
WITH_PAMR = "{} + PAMR"  # the second row of a method that was published with it

ACCURACY = "accuracy"  # the row of single objects; what it is called in tables:
CALLED = {ACCURACY: "single objects among all 64 pairs, accuracy"}
Scores = dict[str, dict[str, float]]
"""Row -> {"seen": ..., "held_out": ...}, shares of 0..1."""


def every_row() -> dict[str, dict[str, Any]]:
    """Every published method and the compositions worth knowing: what a row is called, and the Segmenter's settings.

    All without PAMR, and those that were published with it once more with it.
    """
    rows: dict[str, dict[str, Any]] = {}
    for method in measured_methods():
        external = {"external": "self"} if reads_external(method) else {}
        called = f"{method}, self" if external else method
        rows[called] = {"method": method, "pamr": False, **external}
        if method in METHODS and METHODS[method].pamr:
            rows[WITH_PAMR.format(called)] = {**rows[called], "pamr": True}
    return rows


def make_segmenters(backend: str, rows: Mapping[str, Mapping[str, Any]], **settings: Any) -> dict[str, Segmenter]:
    """A Segmenter for every row, all on one CLIP; `settings` go to each, and a row's own go before them.

    Its model is loaded once, and handed on with what was asked of it.
    """
    segmenters: dict[str, Segmenter] = {}
    for row, own in rows.items():
        segmenters[row] = Segmenter(**{"backend": backend, **settings, **own})
        settings |= {"model": segmenters[row].clip, "pretrained": None, "quick_gelu": None, "precision": None}
    return segmenters


def measure(
    segmenters: Mapping[str, Segmenter], seed: int, limit: int, progress: bool = True, kinds: Sequence[str] = KINDS
) -> Scores:
    """Object IoU of each row over `limit` scenes of each kind. All rows read one pass of the tower over each scene.

    The segmenters must show the picture to the tower alike: one CLIP, one size.
    """
    sums = {row: dict.fromkeys(kinds, 0.0) for row in segmenters}
    counter = Progress(len(kinds) * limit, unit="scene") if progress else None
    first = next(iter(segmenters.values()))
    for kind in kinds:
        for scene in benchmark_scenes(seed, limit, kind, SIZE):
            features, query = first.picture_features(scene.image), first.query(scene.classes)
            for row, segmenter in segmenters.items():
                labels = segmenter(scene.image, query, features).labels
                sums[row][kind] += object_iou(labels, scene.labels, scene.n_objects) / limit
            if counter:
                counter.step()
    if counter:
        counter.close()
    return sums


def single_object_accuracy(clip: ClipModel, scenes: Iterable[Scene]) -> dict[str, float]:
    """Share of single objects whose pair is the nearest of all 64 to the picture's class token, seen and held out."""
    text = clip.text_embeddings(list(PAIRS))
    right: dict[str, list[bool]] = {"seen": [], "held_out": []}
    for scene in scenes:
        pixels = to_pixels(scene.image, (clip.image_size, clip.image_size), clip.mean, clip.std)
        guess = PAIRS[int(np.argmax(text @ clip.image_embeddings(pixels)[0]))]
        right["held_out" if scene.classes[0] in HELD_OUT else "seen"].append(guess == scene.classes[0])
    return {kind: float(np.mean(answers)) for kind, answers in right.items()}


def accuracy(clip: ClipModel, seed: int, limit: int) -> dict[str, float]:
    """The accuracy on `limit` single objects of held-out pairs and on 7 times as many of seen ones.

    It is the CLIP's own, of its tower and its text; no backend has a part in it.
    """
    return single_object_accuracy(clip, single_object_scenes(seed, len(PAIRS) // len(HELD_OUT) * limit, SIZE))


def describe(configurations: Mapping[str, Mapping[str, dict[str, Any]]]) -> str:
    """What all rows of a table share, from the configurations by backend and row."""
    by_row = next(iter(configurations.values()))
    c = next(iter(by_row.values()))
    window = f"window {c['window']} by {c['stride']}" if c["window"] else "whole picture"
    lines = [
        f"model     {c['model']}, {c['activation']}, weights SHA-256 {c['weights_sha256']}",
        f"dtype     {c['dtype']}, the tower's products in {c['precision']}",
        f"sizes     short side {c['short_side']}, {window}, logit scale {c['logit_scale']:g}",
        f"device    {c['device']}",
        f"versions  {', '.join(f'{name} {version}' for name, version in c['versions'].items())}",
    ]
    if len(by_row) == 1:
        options = ", ".join(f"{name} {value}" for name, value in c["options"].items())
        pamr = "with PAMR" if c["pamr"] else "without PAMR"
        lines.insert(0, f"method    {c['method']} {pamr}" + (f", {options}" if options else ""))
    return "\n".join(lines)


def text_table(columns: Mapping[str, Scores]) -> str:
    """Figures in % for the terminal: a pair of columns, seen and held out, for each backend."""
    rows = _rows(columns)
    width = max(len(called) for called in rows.values()) + 1
    heads = (f"{name} seen" if len(columns) > 1 else "seen" for name in columns)
    lines = [" " * width + "".join(f"{head:>14s}{'held out':>10s}" for head in heads)]
    for row, called in rows.items():
        cells = (f"{_percent(scores, row, 'seen'):>14s}{_percent(scores, row, 'held_out'):>10s}" for scores in columns.values())
        lines.append(f"{called:{width}s}{''.join(cells)}")
    return "\n".join(lines)


def markdown_table(columns: Mapping[str, Scores]) -> str:
    """The same in Markdown, the best of every column bold where there are several rows; the accuracy aside."""
    named = len(columns) > 1
    heads = [f"{name}, {kind}" if named else kind for name in columns for kind in ("seen", "held out")]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for row, called in _rows(columns).items():
        cells = (_cell(scores, row, kind) for scores in columns.values() for kind in KINDS)
        lines.append(f"| {called} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(columns: Mapping[str, Scores]) -> dict[str, str]:
    """The rows of all columns, and what each is called."""
    return {row: CALLED.get(row, row) for scores in columns.values() for row in scores}


def _percent(scores: Scores, row: str, kind: str) -> str:
    return f"{100 * scores[row][kind]:.1f}" if row in scores else ""


def _cell(scores: Scores, row: str, kind: str) -> str:
    text = _percent(scores, row, kind)
    rivals = [f[kind] for name, f in scores.items() if name != ACCURACY]
    best = text and row != ACCURACY and len(rivals) > 1 and scores[row][kind] == max(rivals)
    return f"**{text}**" if best else text

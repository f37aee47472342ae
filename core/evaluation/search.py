"""The best composition on the scenes: searched on one seed, by successive halving, and reported on another.

Every method that can be, with every set of parts that can be added to it, a few values of the options that matter on a small
grid, and PAMR on and off. All candidates see a few scenes; the better third sees three times as many; and so on, until
few are left (Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016).
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from core.evaluation.compositions import compositions, reads_external
from core.evaluation.on_scenes import KINDS, Scores, measure
from core.methods.registry import method_options
from core.segment.segmenter import Segmenter

RIVAL = "naclip + PAMR"
"""The row that the winner is reported beside."""

VALUES: dict[str, tuple[Any, ...]] = {
    "gaussian_std": (1.0, 1.5, 3.0),
    "sharpness": (1.0, 3.0),
    "detector": ("SOM", "LOF"),
    "self_attention": ("kk", "qk"),
}
"""The options that are varied, each where a method has it."""

FACTOR, FINALISTS = 3, 3
FIRST_SCENES = 4
SCENES = FIRST_SCENES * FACTOR**3


def candidates() -> dict[str, dict[str, Any]]:
    """All that the search tries: what a candidate is called, and the Segmenter's settings."""
    found = {}
    for method in compositions():
        varied = {name: values for name, values in VALUES.items() if name in method_options(method)}
        external = {"external": "self"} if reads_external(method) else {}
        for values, pamr in product(product(*varied.values()), (False, True)):
            options = dict(zip(varied, values, strict=True))
            words = [method, *(f"{name}={value}" for name, value in options.items()), *(["PAMR"] if pamr else [])]
            found[" ".join(words)] = {"method": method, "pamr": pamr, **external, **options}
    return found


def search(segmenters: Mapping[str, Segmenter], seed: int) -> Scores:
    """The best candidates, the best first, each measured on the first `SCENES` scenes of each kind of the seed.

    A round keeps the better third by the mean over both kinds, and the next sees three times as many scenes.
    """
    left, n_scenes = dict(segmenters), FIRST_SCENES
    while True:
        scores = measure(left, seed, n_scenes)
        last = n_scenes >= SCENES
        kept = ranked(scores)[: FINALISTS if last else max(len(left) // FACTOR, FINALISTS)]
        if last:
            return {name: scores[name] for name in kept}
        left, n_scenes = {name: left[name] for name in kept}, n_scenes * FACTOR


def ranked(scores: Scores) -> list[str]:
    """Names by the mean over seen and held-out pairs, the best first."""
    return sorted(scores, key=lambda name: -sum(scores[name][kind] for kind in KINDS))

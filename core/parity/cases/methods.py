"""Which methods are run, with which switches, and on what."""

from typing import Any

import numpy as np

from core.clip.features import ClipFeatures
from core.methods.registry import METHODS, apply_method, resolve_options
from core.parity.cases.inputs import generator, seeded_features, seeded_inputs

EMBED = 8
SHAPES = ((2, (3, 5), (4, 3)), (1, (7, 4), (5, 6)), (2, (9, 13), (11, 8)), (1, (17, 20), (18, 19)))
"""Pictures, CLIP's grid, the external grid; the last is beyond what the kernels treat at once."""

FEW = 31  # patches of a grid too small for the 30 neighbours of the published outlier factor

SWITCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("naclip", {"gaussian_std": 1.5}), ("naclip", {"arch": "vanilla"}), ("naclip", {"attn_strategy": "nonly"}),
    ("naclip", {"attn_strategy": "kk"}), ("naclip", {"attn_strategy": "csa", "arch": "vanilla"}),
    ("naclip", {"attn_strategy": "vanilla", "arch": "vanilla"}),
    ("scclip", {"self_attention": "qk"}), ("scclip", {"lof_variant": "breunig"}), ("scclip", {"beta": 0.1}),
    ("sfp", {"detector": "L2"}), ("sfp", {"detector": "LOF"}), ("sfp", {"attention": "notes"}),
    ("proxyclip", {"beta": 0.5, "gamma": 1.0}),
    ("fsa", {"isolate": False}), ("fsa", {"prune": False}), ("fsa", {"ensemble": False}), ("fsa", {"sharpness": 2.3}),
)  # fmt: skip
COMPOSITIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("clearclip+neighbourhood", {}), ("vanilla+repair", {}), ("naclip+repair+fsa", {}), ("maskclip+fsa", {}),
    ("sclip+fsa", {}), ("proxyclip+fsa", {}), ("sfp+neighbourhood+fsa", {}), ("scclip+neighbourhood+fsa", {}),
)  # fmt: skip
VARIANTS = tuple((name, {}) for name in METHODS) + SWITCHES + COMPOSITIONS
"""Every method as published, the main switches, and compositions."""

ACTIVATIONS = {"sclip": "gelu"}
"""Of the seeded features, so that both are run; "quick_gelu" where it is not said."""

UNPRUNED = "float32 without pruning: rounding may turn a link at its edge, on a small grid that is much; see links"
AT_LINKS = "float32: of many links some lie where rounding decides whether they are pruned, so 2e-3; float64 keeps 1e-10"


def accuracy_on_pictures(method: str, options: dict[str, Any]) -> tuple[str, str]:
    """The kind of tolerance of a method on a real picture's many patches, and the remark that goes with it."""
    return ("feedback", AT_LINKS) if prunes(method, options) else ("head", "")


def variant_name(method: str, options: dict[str, Any]) -> str:
    """`naclip`, `naclip:arch=vanilla`."""
    return method + (":" if options else "") + ",".join(f"{name}={value}" for name, value in options.items())


def prunes(method: str, options: dict[str, Any]) -> bool:
    """Whether FSA's pruning is on."""
    return resolve_options(method, options).get("prune", False)


def method_trials(method: str, options: dict[str, Any], dtype: str) -> dict[str, tuple]:
    """Seeded features, phrases and external features in a dtype, for each of `SHAPES`.

    On a small grid 4 neighbours are asked for, not 30: among all N - 1 the two points furthest apart tie. FSA's pruning is
    off in float32 (`UNPRUNED`); float64 has it on.
    """
    rng = generator(variant_name(method, options))
    trials = {}
    for b, grid, places in SHAPES:
        own = dict(options)
        if "n_neighbors" in resolve_options(method, options) and grid[0] * grid[1] < FEW:
            own["n_neighbors"] = 4
        if dtype == "float32" and prunes(method, options):
            own["prune"] = False
        activation = ACTIVATIONS.get(method, "quick_gelu")
        features = seeded_features(rng, b, grid, embed=EMBED, dtype=dtype, activation=activation)
        given = seeded_inputs(rng, b, EMBED, dtype, places)
        trials[f"{b} x {grid[0]} x {grid[1]}"] = (features, method, given["text"], given["external"], own)
    return trials


def run_method(
    ops: Any, features: ClipFeatures, method: str, text: np.ndarray, external: Any, options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The patch embeddings (B, h, w, E) of a method, and the phrase nearest to each."""
    embeddings = ops.to_numpy(apply_method(ops, features, method, text, external, **options)[0])
    return {"embeddings": embeddings} | nearest_phrases(embeddings, text)


def nearest_phrases(embeddings: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    """Which of the phrases (Q, E) is nearest to each patch (B, h, w, E) by cosine, and the lead over the second."""
    patches, phrases = (x.astype(np.float64) for x in (embeddings, text))
    cosines = (patches @ phrases.T) / np.linalg.norm(phrases, axis=-1)
    return first_and_lead(cosines / np.maximum(np.linalg.norm(patches, axis=-1, keepdims=True), 1e-30))


def first_and_lead(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Index of the largest score along the last axis, and by how much it leads the second; infinitely where it is alone."""
    ordered = np.sort(scores, axis=-1)
    lead = ordered[..., -1] - ordered[..., -2] if scores.shape[-1] > 1 else np.full(scores.shape[:-1], np.inf)
    return {"labels": scores.argmax(axis=-1), "labels margin": lead}

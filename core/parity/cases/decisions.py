"""The decisions that methods make on their way: outliers, similar patches, links.

What they decide on is compared, and what they decided. A decision whose margin is within the tolerance may fall either way:
rounding alone can turn it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from core.methods.affinity import cosine_similarity, keep_similar
from core.methods.compose import PARTS
from core.methods.outliers import attention_sinks, long_tokens, outlier_mask
from core.methods.registry import method_options
from core.parity.cases.inputs import generator, normal, uniform

SHAPES = ((2, 15), (1, 28), (3, 77))  # pictures, patches
CONTAMINATION, BETA = 0.1, method_options("scclip")["beta"]
SHARPNESS, MASS = (PARTS["fsa"].options[name] for name in ("sharpness", "mass"))
SINKS = {name: method_options("sfp")[name] for name in ("res_cls", "res_scale")}

Outcome = dict[str, np.ndarray]


def decision_trials(name: str, dtype: str) -> dict[str, tuple]:
    """The arguments of a decision in a dtype: patches (B, N, 16), or block L-2's attention, or a similarity."""
    rng = generator(name)
    draw = DRAWS.get(name, _patches)
    return {f"{b}x{n}": draw(rng, b, n, dtype) for b, n in SHAPES}


def _patches(rng: np.random.Generator, b: int, n: int, dtype: str) -> tuple:
    return (normal(rng, (b, n, 16), dtype),)


def _attention(rng: np.random.Generator, b: int, n: int, dtype: str) -> tuple:
    return (uniform(rng, (b, 2, 1 + n, 1 + n), dtype),)


def _divergence(rng: np.random.Generator, b: int, n: int, dtype: str) -> tuple:
    return (uniform(rng, (b, n, n), dtype),)


def _by_factor(variant: str) -> Callable[..., Outcome]:
    def run(ops: Any, patches: np.ndarray) -> Outcome:
        """LOF's scores, which of them are outliers, and how far each score is from the quantile."""
        native = ops.local_outlier_factor(patches, 4, variant)
        outliers = ops.to_numpy(outlier_mask(ops, native, CONTAMINATION)).astype(bool)
        scores = ops.to_numpy(native)
        edge = np.quantile(scores, 1 - CONTAMINATION, axis=-1, keepdims=True)
        return {"scores": scores, "outliers": outliers, "outliers margin": np.abs(scores - edge) / np.abs(scores).max()}

    return run


def by_sinks(ops: Any, attention: np.ndarray) -> Outcome:
    """SFP's SOM; its seeded margins are far above rounding, so all patches must agree."""
    return {"outliers": ops.to_numpy(attention_sinks(ops, ops.asarray(attention), 5, **SINKS)).astype(bool)}


def by_length(ops: Any, patches: np.ndarray) -> Outcome:
    """SFP's L2; the same."""
    return {"outliers": ops.to_numpy(long_tokens(ops, ops.asarray(patches), 5)).astype(bool)}


def similar_patches(ops: Any, patches: np.ndarray) -> Outcome:
    """Cosines of patches and which are at least SC-CLIP's beta."""
    native = cosine_similarity(ops, ops.asarray(patches))
    cosines, kept = ops.to_numpy(native), ops.to_numpy(keep_similar(ops, native, BETA))
    return {"cosines": cosines, "kept": kept != 0, "kept margin": np.abs(cosines - BETA)}


def strong_links(ops: Any, divergence: np.ndarray) -> Outcome:
    """FSA's pruning: a link may flip where the mass held by some number of links of its row is `MASS` itself."""
    kept = ops.to_numpy(ops.link_weights(divergence, SHARPNESS, MASS)) > 0
    e = np.exp(1 / (1 + np.sort(divergence.astype(np.float64), axis=-1)))
    held = np.cumsum(e / e.sum(axis=-1, keepdims=True), axis=-1)
    margin = np.abs(held - MASS).min(axis=-1, keepdims=True)
    return {"links": kept, "links margin": np.broadcast_to(margin, kept.shape).copy()}


DECISIONS: dict[str, Callable[..., Outcome]] = {
    "outliers:LOF": _by_factor("scclip"),
    "outliers:LOF,breunig": _by_factor("breunig"),
    "outliers:SOM": by_sinks,
    "outliers:L2": by_length,
    "keep_similar": similar_patches,
    "links": strong_links,
}
DRAWS = {"outliers:SOM": _attention, "links": _divergence}

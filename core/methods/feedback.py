"""FSA: the prediction fed back into the attention.

Chi et al., "Plug-in Feedback Self-adaptive Attention in CLIP for Training-free Open-Vocabulary Segmentation", 2025. Written
once over a backend's primitives `ops`. A is an attention over the N patches, V are the values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from core.methods.limits import SHARE, SHARPNESS
from core.primitives.arrays import Array
from core.primitives.chunks import row_blocks

LOGIT_SCALE, MEAN_LOGIT_SCALE = 20.0, 35.0
KL_EPS = 1e-10
BLOCK_ENTRIES = 1 << 19  # links treated at once: 2 MB in float32, which the outer caches hold


@dataclass(frozen=True)
class Feedback:
    """The settings of FSA: its three strategies as switches, and its constants.

    isolate: compare patches by what their attention adds to the picture's mean prediction. prune: keep the links that hold
    at most `mass` of the probability. ensemble: average A' A, A A' and A' instead of taking A'. sharpness: lambda.
    """

    isolate: bool
    prune: bool
    ensemble: bool
    sharpness: float
    mass: float

    @property
    def on(self) -> bool:
        """Whether any of the strategies is on; with none the attention is left as it is."""
        return self.isolate or self.prune or self.ensemble


FEEDBACK_LIMITS = {"sharpness": SHARPNESS, "mass": SHARE}


def feedback_idle(options: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """FSA's options that have no effect among these, each with the reason."""
    switches = ("isolate", "prune", "ensemble")
    if not any(options[name] for name in switches):
        return dict.fromkeys(("sharpness", "mass"), "isolate, prune and ensemble are off, and nothing is fed back")
    return {} if options["prune"] else {"mass": "it is what pruning keeps, and prune is off"}


class Fed(NamedTuple):
    """values (B, M, D): what V becomes. before: gives what it was under A alone. corrected: gives A' (B, 1, N, N) as a whole.

    Of a feedback with nothing on there is no A'.
    """

    values: Array
    before: Callable[[], Array]
    corrected: Callable[[], Array] | None


def feed_back(
    ops: Any,
    attention: Array,
    start: Callable[[Array], Array],
    class_logits: Callable[[Array], Array],
    feedback: Feedback,
) -> Fed:
    r"""What the values become under the attention that its own prediction has corrected: $(A' A + A A' + A') V / 3$.

    As $(A' (A V) + A (A' V) + A' V) / 3$ it needs no product of two attentions, and A' exists a block of rows at a time.

    attention A: (B, H or 1, N, N). start: an attention (B, ., M, N) -> the values under it, (B, M, D), or whatever is linear in
    them. class_logits: such values -> cosines with the classes (B, M, C), through the rest of the tower.
    """
    mixed = start(attention)
    if not feedback.on:
        return Fed(mixed, lambda: mixed, None)
    n = attention.shape[-1]
    everywhere = ops.asarray(np.full((attention.shape[0], 1, 1, n), 1 / n), like=attention)
    prediction = patch_prediction(ops, class_logits(mixed), class_logits(start(everywhere)) if feedback.isolate else None)
    values, mixed_values = [], []  # A' V and A' (A V), block by block
    for rows in corrected_rows(ops, prediction, feedback):
        values.append(start(rows))
        if feedback.ensemble:
            mixed_values.append(weigh(ops, rows, mixed))
    corrected = _joined(ops, values, axis=1)
    if feedback.ensemble:
        corrected = (_joined(ops, mixed_values, axis=1) + weigh(ops, attention, corrected) + corrected) / 3
    return Fed(corrected, lambda: mixed, lambda: _joined(ops, list(corrected_rows(ops, prediction, feedback)), axis=2))


def weigh(ops: Any, weights: Array, v: Array) -> Array:
    """Values v (B, M', D) under weights (B, H, M, M'), heads being columns of them, or (B, 1, M, M'): -> (B, M, D)."""
    n_heads = weights.shape[1]
    if n_heads == 1:
        batch, _, n_rows, n = weights.shape
        return ops.matmul(ops.reshape(weights, (batch, n_rows, n)), v)
    return ops.merge_heads(ops.matmul(weights, ops.split_heads(v, n_heads)))


def patch_prediction(ops: Any, cosines: Array, mean_cosines: Array | None) -> Array:
    r"""$p_i = \mathrm{softmax}_c(20 z_i - 35 u)$, (B, N, C): cosines z of the patches' mixed values, u of the mean value.

    Without `mean_cosines` u is left out.
    """
    logits = LOGIT_SCALE * cosines
    if mean_cosines is not None:
        logits = logits - MEAN_LOGIT_SCALE * mean_cosines
    return ops.softmax(logits, axis=-1)


def corrected_rows(ops: Any, prediction: Array, feedback: Feedback) -> Iterator[Array]:
    """A' by the primitive `link_weights` of how predictions (B, N, C) diverge, (B, 1, N, N), in blocks of its rows."""
    (batch, n, _), log = prediction.shape, guarded_log(ops, prediction)
    mass = feedback.mass if feedback.prune else None
    for rows in row_blocks(n, batch * n, BLOCK_ENTRIES):
        divergence = kl_divergence(ops, prediction[:, rows], log[:, rows], log)
        weights = ops.link_weights(divergence, feedback.sharpness, mass)
        yield ops.reshape(weights, (batch, 1, -1, n))


def _joined(ops: Any, parts: Sequence[Array], axis: int) -> Array:
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def guarded_log(ops: Any, p: Array) -> Array:
    """log(p + 1e-10)."""
    return ops.log(p + KL_EPS)


def kl_divergence(ops: Any, p: Array, log_p: Array, log_q: Array) -> Array:
    r"""$KL_{ij} = \sum_c p_{ic} (\log p_{ic} - \log q_{jc}) \ge 0$: p, log_p (B, M, C), log_q (B, N, C) -> (B, M, N).

    The logarithms are `guarded_log`'s. The first term is one number a row and the second one matrix product, so nothing of
    size M x N x C is built.
    """
    negative_entropy = ops.sum(p * log_p, axis=-1, keepdims=True)
    return ops.maximum(negative_entropy - ops.inner_products(p, log_q), 0.0)

"""FSA: the prediction fed back into the attention.

Chi et al., "Plug-in Feedback Self-adaptive Attention in CLIP for Training-free Open-Vocabulary Segmentation", 2025. Written
once over a backend's primitives `ops`. A is an attention over the N patches, (B, H or 1, N, N), V the values (B, H, N, d).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.affinity import softmax_over
from core.arrays import Array

LOGIT_SCALE, MEAN_LOGIT_SCALE = 20.0, 35.0
KL_EPS = 1e-10
CHUNK_ENTRIES = 1 << 22  # links treated at once: 16 MB in float32


@dataclass(frozen=True)
class Feedback:
    """The settings of FSA: its three strategies as switches, and its constants.

    isolate: compare patches by what their attention adds to the picture's mean prediction. prune: keep the links that hold
    `mass` of the probability. ensemble: average A' A, A A' and A' instead of taking A'. sharpness: lambda.
    """

    isolate: bool = True
    prune: bool = True
    ensemble: bool = True
    sharpness: float = 3.0
    mass: float = 0.45


def feed_back(
    ops: Any,
    attention: Array,
    values: Array,
    class_logits: Callable[[Array], Array],
    feedback: Feedback,
    note: Callable[..., None],
) -> Array:
    """What the values become under the attention that its own prediction has corrected: (B, H, N, d).

    class_logits: mixed values (B, H, M, d) -> cosines with the classes (B, M, C), through the rest of the tower.
    note: told the corrected attention.
    """
    mixed = ops.matmul(attention, values)
    if not (feedback.isolate or feedback.prune or feedback.ensemble):
        return mixed
    prediction = patch_prediction(ops, mixed, values, class_logits, feedback.isolate)
    corrected = corrected_attention(ops, prediction, feedback)
    note(corrected_attention=corrected)
    once = ops.matmul(corrected, values)
    if not feedback.ensemble:
        return once
    return (ops.matmul(corrected, mixed) + ops.matmul(attention, once) + once) / 3


def patch_prediction(
    ops: Any, mixed: Array, values: Array, class_logits: Callable[[Array], Array], isolate: bool
) -> Array:
    r"""$p_i = \mathrm{softmax}_c(z_i - u)$, (B, N, C): z of the patches' mixed values, u of the mean value.

    Without isolation u is left out.
    """
    z = class_logits(mixed)
    z = z * ops.asarray(LOGIT_SCALE, like=z)
    if isolate:
        u = class_logits(ops.mean(values, axis=2, keepdims=True))
        z = z - u * ops.asarray(MEAN_LOGIT_SCALE, like=u)
    return ops.softmax(z, axis=-1)


def corrected_attention(ops: Any, prediction: Array, feedback: Feedback) -> Array:
    r"""Softmax of $\mathrm{sim} \, e^{\lambda\, \mathrm{sim}}$ with $\mathrm{sim} = 1 / (1 + KL)$.

    (B, N, C) -> (B, 1, N, N), a block of rows at a time: beside the result, memory is bounded.
    """
    n = prediction.shape[1]
    rows = max(CHUNK_ENTRIES // (prediction.shape[0] * n), 1)
    blocks = [_corrected_rows(ops, prediction[:, i : i + rows], prediction, feedback) for i in range(0, n, rows)]
    return (blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1))[:, None]


def _corrected_rows(ops: Any, own: Array, prediction: Array, feedback: Feedback) -> Array:
    similarity = 1 / (1 + kl_divergence(ops, own, prediction))
    logits = similarity * ops.exp(similarity * ops.asarray(feedback.sharpness, like=similarity))
    if feedback.prune:
        return softmax_over(ops, logits, confident_links(ops, similarity, feedback.mass))
    return ops.softmax(logits, axis=-1)


def kl_divergence(ops: Any, p: Array, q: Array) -> Array:
    r"""$KL_{ij} = \sum_c p_{ic} (\log(p_{ic} + \epsilon) - \log(q_{jc} + \epsilon)) \ge 0$: (B, M, C), (B, N, C) -> (B, M, N).

    The first term is one number a row and the second one matrix product, so nothing of size M x N x C is built.
    """
    eps = ops.asarray(KL_EPS, like=p)
    negative_entropy = ops.sum(p * ops.log(p + eps), axis=-1, keepdims=True)
    return ops.maximum(negative_entropy - ops.matmul(p, ops.swap_last(ops.log(q + eps))), 0.0)


def confident_links(ops: Any, similarity: Array, mass: float) -> Array:
    """Which links of a row hold `mass` of the softmax over the row, the strongest first and always kept; (B, N, N)."""
    descending = -ops.sort(-similarity, axis=-1)
    held = ops.cumsum(ops.softmax(descending, axis=-1), axis=-1)
    strongest = descending[..., :1]
    kept = ops.where(held <= ops.asarray(mass, like=held), descending, strongest + descending * 0)
    weakest_kept = -ops.max(-kept, axis=-1, keepdims=True)
    return similarity >= weakest_kept

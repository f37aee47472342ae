"""ProxyCLIP and FSA: another vision model's features as attention, and the prediction fed back into it.

Lan et al., "ProxyCLIP", ECCV 2024; FSA: `core.methods.feedback`. The embeddings lie on the external model's grid.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.clip.block import embed_on_grid, projections
from core.clip.features import ClipFeatures
from core.errors import InputError
from core.methods.affinity import contrast_attention, cosine_similarity
from core.methods.attention import feed_back_and_project
from core.methods.compose import Given
from core.methods.feedback import Feedback
from core.methods.outliers import last_input
from core.methods.seen import Steps
from core.primitives.arrays import Array
from core.primitives.resize import bilinear_matrix


def proxyclip(
    ops: Any, features: ClipFeatures, given: Given, *, beta: float = 1.2, gamma: float = 3.0
) -> tuple[Array, Steps]:
    """Attention by the cosines of external features (B, c, hE, wE), over CLIP's values resized to their grid.

    Gives (B, hE, wE, E). Raises InputError without external features.
    """
    weights, (x, steps) = features.weights, last_input(ops, features, given)
    patches = x[:, 1:]
    attention = external_attention(ops, patches, given.external, beta, gamma)
    grid = tuple(given.external.shape[-2:])
    start, out = values_on_external_grid(ops, features, patches, grid)

    def finish(places: Array) -> Array:
        return embed_on_grid(ops, weights, places, grid)

    steps["attention"] = lambda: attention
    if given.feedback is None:
        return finish(out(start(attention))), steps
    fed = feed_back_and_project(ops, weights, attention, start, out, given)
    if fed.corrected is not None:
        steps |= {"corrected_attention": fed.corrected, "before_feedback": lambda: finish(fed.before())}
    return finish(fed.values), steps


def fsa(
    ops: Any,
    features: ClipFeatures,
    given: Given,
    *,
    beta: float = 1.2,
    gamma: float = 3.0,
    isolate: bool = True,
    prune: bool = True,
    ensemble: bool = True,
    sharpness: float = 3.0,
    mass: float = 0.45,
) -> tuple[Array, Steps]:
    """ProxyCLIP's attention, corrected by what it predicts for the phrases of `given.text` (Q, E).

    sharpness: lambda, 3 in the paper (2.3 for ViT-H, 4.5 with MAE). mass: the share of probability that pruning keeps.
    Gives (B, hE, wE, E). Raises InputError without external features or text.
    """
    feedback = Feedback(isolate, prune, ensemble, sharpness, mass)
    return proxyclip(ops, features, replace(given, feedback=feedback), beta=beta, gamma=gamma)


def external_attention(ops: Any, patches: Array, external: Array | None, beta: float, gamma: float) -> Array:
    """Attention between the M = hE wE places of external features (B, c, hE, wE): (B, 1, M, M)."""
    if external is None:
        raise InputError("this method needs another vision model's features: give external (B, c, h', w')")
    external = ops.asarray(external, like=patches)
    if len(external.shape) != 4 or external.shape[0] != patches.shape[0]:
        wanted = f"(B, c, h', w') of {patches.shape[0]} pictures"
        raise InputError(f"external features must be {wanted}, not {tuple(external.shape)}")
    batch, channels, rows, columns = external.shape
    places = ops.swap_last(ops.reshape(external, (batch, channels, rows * columns)))
    return contrast_attention(ops, cosine_similarity(ops, places), gamma, beta)


def values_on_external_grid(
    ops: Any, features: ClipFeatures, patches: Array, grid: tuple[int, int]
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    r"""How CLIP's values V, resized by R to the external grid, are mixed and projected: $(A R V) W^\top + b$.

    All of it is linear, so R, which is sparse and separable, is applied to the attention: V is never resized. Where CLIP's grid
    has fewer patches than V columns, W is applied to the values before they meet, $(A R) (V W^\top) + b$. Gives `start`:
    A (B, 1, M, M') -> A R or A R V, the narrower, and `out`: anything linear in that -> (B, M, D).
    """
    weights = features.weights
    (v,) = projections(ops, weights, patches, "v")
    batch, n_patches, width = v.shape
    weight, bias = weights["attn.out_proj.weight"], weights["attn.out_proj.bias"]
    by_row, by_column = (ops.asarray(bilinear_matrix(*n), like=v) for n in zip(features.grid, grid, strict=True))
    by_row = ops.swap_last(by_row)

    def resized(attention: Array) -> Array:
        n = attention.shape[2]
        if tuple(features.grid) != grid:
            fields = ops.matmul(by_row, ops.reshape(attention, (batch * n, *grid)))
            attention = ops.matmul(fields, by_column)
        return ops.reshape(attention, (batch, n, n_patches))

    if n_patches > width:
        return lambda attention: ops.matmul(resized(attention), v), lambda mixed: ops.linear(mixed, weight, bias)
    projected = ops.linear(v, weight)
    return resized, lambda mixed: ops.matmul(mixed, projected) + bias

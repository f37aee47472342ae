"""SC-CLIP and SFP: outliers repaired, patches aggregated by their content, layers fused.

| step | SC-CLIP (Bai et al., 2024)                   | SFP (Jin et al., ICCV 2025), as released              |
|------|----------------------------------------------|-------------------------------------------------------|
| 1    | outliers of the last input by LOF, repaired  | by SOM, L2 or LOF, repaired                           |
| 2    | patches aggregated by block 8's similarity S | the same                                              |
| 3    | (softmax(M(S)) + softmax(k k' s)) / 2        | (softmax(k k' s) + softmax(q q' s) + softmax(M)) / 3, |
|      |                                              | with M of the thresholded S                           |
| 4    | aggregated by block 3's similarity           | the same                                              |
| 5    | the sum of blocks 3 to 9 through steps 3, 4  | the same with softmax(M) alone                        |

Every step that leaves the attention adds 0.3 of the class token. Recipes take `ops` and `ClipFeatures`, and give (B, N, E).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from core.affinity import aggregate, contrast_attention, cosine_similarity, keep_similar
from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures
from core.methods.blocks import (
    Attention,
    TokenAttention,
    attend_with_parts,
    check_choice,
    embed,
    head_scale,
    projections,
)
from core.methods.parts import NO_PARTS, Parts
from core.methods.repair import find_outliers, repair

TokensToAttention = Callable[[Array, Array], Attention]  # from the queries and keys of the patches


def scclip(
    ops: Any,
    features: ClipFeatures,
    *,
    beta: float = 0.4,
    pre_layer: int = 8,
    post_layer: int = 3,
    multi_layers: tuple[int, int] = (3, 9),
    res_cls: float = 0.3,
    n_neighbors: int = 30,
    contamination: float = 0.05,
    lof_variant: str = "scclip",
    self_attention: str = "kk",
    text: Array | None = None,
    parts: Parts = NO_PARTS,
) -> Array:
    """Self-calibrated CLIP. self_attention: "kk" as released, or "qk".

    Layers are indices of blocks from 0; `multi_layers` is the first and the last that are summed.
    """
    check_choice("self_attention", self_attention, ("kk", "qk"))
    by_tokens = token_attention(ops, features, parts)
    outliers = find_outliers(ops, features, "LOF", 0, n_neighbors, contamination, lof_variant)
    similarity = repaired_similarity(ops, features, pre_layer, outliers)
    content = contrast_attention(ops, similarity)

    def mixed(q: Array, k: Array) -> Attention:
        return [(1 / 2, content), (1 / 2, by_tokens(k if self_attention == "kk" else q, k))]

    kept = keep_similar(ops, similarity, beta)
    after = After(beta, post_layer, multi_layers, res_cls)
    return calibrated(ops, features, outliers, kept, mixed, mixed, after, parts, text)


def sfp(
    ops: Any,
    features: ClipFeatures,
    *,
    detector: str = "SOM",
    attention: str = "released",
    beta: float = 0.4,
    pre_layer: int = 8,
    post_layer: int = 3,
    multi_layers: tuple[int, int] = (3, 9),
    res_cls: float = 0.3,
    n_outliers: int = 10,
    n_neighbors: int = 30,
    contamination: float = 0.05,
    text: Array | None = None,
    parts: Parts = NO_PARTS,
) -> Array:
    """Feature purification. detector: "SOM", "L2" or "LOF". attention: "released", or "notes", an earlier version.

    "notes" is (softmax(k k' s) + softmax(q q' s)) / 2 in both places, without M.
    """
    check_choice("attention", attention, ("released", "notes"))
    by_tokens = token_attention(ops, features, parts)
    outliers = find_outliers(ops, features, detector, n_outliers, n_neighbors, contamination)
    kept = keep_similar(ops, repaired_similarity(ops, features, pre_layer, outliers), beta)
    content = contrast_attention(ops, kept)

    def notes(q: Array, k: Array) -> Attention:
        return [(1 / 2, by_tokens(k, k)), (1 / 2, by_tokens(q, q))]

    def released(q: Array, k: Array) -> Attention:
        return [(1 / 3, by_tokens(k, k)), (1 / 3, by_tokens(q, q)), (1 / 3, content)]

    main, fused = (notes, notes) if attention == "notes" else (released, lambda q, k: [(1, content)])
    after = After(beta, post_layer, multi_layers, res_cls)
    return calibrated(ops, features, outliers, kept, main, fused, after, parts, text)


class After(NamedTuple):
    """What happens behind the attention: aggregation by `post_layer` at `beta`, fusion of layers, the class token's share."""

    beta: float
    post_layer: int
    multi_layers: tuple[int, int]
    res_cls: float


def calibrated(
    ops: Any,
    features: ClipFeatures,
    outliers: Array,
    pre_similarity: Array,
    main: TokensToAttention,
    fused: TokensToAttention,
    after: After,
    parts: Parts,
    text: Array | None,
) -> Array:
    """Steps 1 to 5: `main` gives the attention of the main path, which takes the parts, `fused` that of the summed layers."""
    last = features.hidden[-1]
    first, final = (_layer(features, layer) for layer in after.multi_layers)
    post = cosine_similarity(ops, features.hidden[_layer(features, after.post_layer)][:, 1:])
    post = keep_similar(ops, post, after.beta)

    def through(patches: Array, class_token: Array, attention: TokensToAttention, parts: Parts) -> Array:
        q, k, v = projections(ops, features.weights, patches)
        attended = attend_with_parts(ops, features.weights, attention(q, k), v, parts, text)
        return aggregate(ops, attended + class_token * ops.asarray(after.res_cls, like=class_token), post)

    repaired = repair(ops, features, last[:, 1:], outliers)
    parts.note(outliers=outliers, before_repair=last[:, 1:], after_repair=repaired)
    tokens = through(aggregate(ops, repaired, pre_similarity), last[:, :1], main, parts)
    summed = features.hidden[first]
    for layer in range(first + 1, final + 1):
        summed = summed + features.hidden[layer]
    tokens = tokens + through(summed[:, 1:], summed[:, :1], fused, NO_PARTS)
    return embed(ops, features.weights, tokens)


def token_attention(ops: Any, features: ClipFeatures, parts: Parts) -> Callable[[Array, Array], TokenAttention]:
    """softmax(a b' s) over the patches, with the parts' neighbourhood added to the logits."""
    s, omega = head_scale(features), None
    if parts.neighbourhood is not None:
        patches = features.hidden[-1]
        omega = ops.neighbourhood_addition(*features.grid, parts.neighbourhood, class_token=False, like=patches)
    return lambda a, b: TokenAttention(a, b, s, omega)


def repaired_similarity(ops: Any, features: ClipFeatures, layer: int, outliers: Array) -> Array:
    """Cosines (B, N, N) of a block's patches, repaired at the same outliers."""
    patches = features.hidden[_layer(features, layer)][:, 1:]
    return cosine_similarity(ops, repair(ops, features, patches, outliers))


def _layer(features: ClipFeatures, layer: int) -> int:
    if not 0 <= layer < len(features.hidden):
        last = len(features.hidden) - 1
        raise InputError(f"this tower has blocks 0 to {last} before its last, so layer {layer} is not there")
    return layer


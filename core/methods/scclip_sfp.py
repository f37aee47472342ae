"""SC-CLIP and SFP: outliers repaired, patches aggregated by their content, layers fused.

| step | SC-CLIP (Bai et al., 2024)                   | SFP (Jin et al., ICCV 2025), as released              |
|------|----------------------------------------------|-------------------------------------------------------|
| 1    | outliers of the last input by LOF, repaired  | by SOM, L2 or LOF, repaired                           |
| 2    | patches aggregated by block 8's similarity S | the same                                              |
| 3    | (softmax(M(S)) + softmax(k k' s)) / 2        | (softmax(k k' s) + softmax(q q' s) + softmax(M)) / 3, |
|      |                                              | with M of the thresholded S                           |
| 4    | aggregated by block 3's similarity           | the same                                              |
| 5    | the sum of blocks 3 to 9 through steps 3, 4  | the same with softmax(M) alone                        |

Step 3 ends by adding 0.3 of the class token. The code says at each step which one it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from core.clip.block import embed_on_grid, head_scale, projections
from core.clip.features import ClipFeatures
from core.errors import InputError
from core.methods.affinity import aggregate, contrast_attention, cosine_similarity, keep_similar
from core.methods.attention import Attention, TokenAttention, attend, attend_fed_back, explicit_weights
from core.methods.compose import Given
from core.methods.outliers import find_outliers, repair, repair_steps
from core.methods.seen import Steps
from core.primitives.arrays import Array

TokensToAttention = Callable[[Array, Array], Attention]  # from the queries and keys of the patches


def scclip(
    ops: Any,
    features: ClipFeatures,
    given: Given,
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
) -> tuple[Array, Steps]:
    """Self-calibrated CLIP. self_attention: "kk" as released, or "qk".

    Layers are indices of blocks from 0; `multi_layers` is the first and the last that are summed.
    """
    by_tokens = token_attention(ops, features, given)
    outliers = find_outliers(
        ops, features, "LOF", n_neighbors=n_neighbors, contamination=contamination, lof_variant=lof_variant
    )
    similarity = repaired_similarity(ops, features, pre_layer, outliers)
    content = contrast_attention(ops, similarity)

    def mixed(q: Array, k: Array) -> Attention:
        return [(1 / 2, content), (1 / 2, by_tokens(k if self_attention == "kk" else q, k))]

    layers = Layers(keep_similar(ops, similarity, beta), beta, post_layer, multi_layers, res_cls)
    return calibrated(ops, features, given, outliers, layers, mixed, mixed)


def sfp(
    ops: Any,
    features: ClipFeatures,
    given: Given,
    *,
    detector: str = "SOM",
    attention: str = "released",
    beta: float = 0.4,
    pre_layer: int = 8,
    post_layer: int = 3,
    multi_layers: tuple[int, int] = (3, 9),
    res_cls: float = 0.3,
    res_scale: float = 5.0,
    n_outliers: int = 10,
    n_neighbors: int = 30,
    contamination: float = 0.05,
) -> tuple[Array, Steps]:
    """Feature purification. detector: "SOM", "L2" or "LOF". attention: "released", or "notes", an earlier version.

    "notes" is (softmax(k k' s) + softmax(q q' s)) / 2 in both places, without M. res_cls * res_scale: how many times the
    class token's attention counts against a patch's own, in SOM.
    """
    by_tokens = token_attention(ops, features, given)
    outliers = find_outliers(
        ops, features, detector, n_neighbors=n_neighbors, contamination=contamination,
        n_outliers=n_outliers, res_cls=res_cls, res_scale=res_scale,
    )  # fmt: skip
    kept = keep_similar(ops, repaired_similarity(ops, features, pre_layer, outliers), beta)
    content = contrast_attention(ops, kept)

    def notes(q: Array, k: Array) -> Attention:
        return [(1 / 2, by_tokens(k, k)), (1 / 2, by_tokens(q, q))]

    def released(q: Array, k: Array) -> Attention:
        return [(1 / 3, by_tokens(k, k)), (1 / 3, by_tokens(q, q)), (1 / 3, content)]

    main, fused = (notes, notes) if attention == "notes" else (released, lambda q, k: [(1, content)])
    layers = Layers(kept, beta, post_layer, multi_layers, res_cls)
    return calibrated(ops, features, given, outliers, layers, main, fused)


def sfp_idle(options: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Sfp's options that have no effect among these, each with the reason."""
    readers = {"n_outliers": ("SOM", "L2"), "res_scale": ("SOM",), "n_neighbors": ("LOF",), "contamination": ("LOF",)}
    detector = options["detector"]
    return {
        name: f"detector {detector} does not read it, {' and '.join(own)} {'do' if len(own) > 1 else 'does'}"
        for name, own in readers.items()
        if detector not in own
    }


class Layers(NamedTuple):
    """How other layers take part: S of step 2, block `post_layer` at `beta` in step 4, the layers of step 5, step 3's share."""

    pre_similarity: Array
    beta: float
    post_layer: int
    multi_layers: tuple[int, int]
    res_cls: float


def calibrated(
    ops: Any,
    features: ClipFeatures,
    given: Given,
    outliers: Array,
    layers: Layers,
    main: TokensToAttention,
    fused: TokensToAttention,
) -> tuple[Array, Steps]:
    """Steps 1 to 5: `main` gives the attention of the main path, which may be fed back, `fused` that of the summed layers."""
    weights, last = features.weights, features.hidden[-1]
    first, final = (_layer(features, layer) for layer in layers.multi_layers)
    post = cosine_similarity(ops, features.hidden[_layer(features, layers.post_layer)][:, 1:])
    post = keep_similar(ops, post, layers.beta)

    def after(attended: Array, class_token: Array) -> Array:  # the end of step 3, and step 4
        return aggregate(ops, attended + layers.res_cls * class_token, post)

    # step 1
    repaired = repair(ops, features, last[:, 1:], outliers)
    steps = repair_steps(ops, features, outliers, last[:, 1:], repaired)
    # step 2
    q, k, v = projections(ops, weights, aggregate(ops, repaired, layers.pre_similarity))
    # step 3
    attention, fed = main(q, k), None
    steps["attention"] = lambda: explicit_weights(ops, attention, weights.n_heads)
    if given.feedback is None:
        attended = attend(ops, weights, attention, v)
    else:
        fed = attend_fed_back(ops, weights, attention, v, given)
        attended = fed.values
    # step 4
    tokens = after(attended, last[:, :1])
    # step 5
    summed = features.hidden[first]
    for layer in range(first + 1, final + 1):
        summed = summed + features.hidden[layer]
    q, k, v = projections(ops, weights, summed[:, 1:])
    summed = after(attend(ops, weights, fused(q, k), v), summed[:, :1])

    def finish(tokens: Array) -> Array:
        return embed_on_grid(ops, weights, tokens + summed, features.grid)

    if fed is not None and fed.corrected is not None:
        steps["corrected_attention"] = fed.corrected
        steps["before_feedback"] = lambda: finish(after(fed.before(), last[:, :1]))
    return finish(tokens), steps


def token_attention(ops: Any, features: ClipFeatures, given: Given) -> Callable[[Array, Array], TokenAttention]:
    """softmax(a b' s) over the patches, with the neighbourhood added to the logits where that part is given."""
    s, omega = head_scale(features), None
    if given.neighbourhood is not None:
        patches = features.hidden[-1]
        omega = ops.neighbourhood_addition(*features.grid, given.neighbourhood, class_token=False, like=patches)
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

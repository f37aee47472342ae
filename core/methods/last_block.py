"""vanilla, maskclip, sclip, clearclip, naclip: which tokens of the last block look alike, and what of the block is kept.

| method    | attention A per head               | block   | source                                            |
|-----------|------------------------------------|---------|---------------------------------------------------|
| vanilla   | softmax(q k' s)                    | vanilla | Radford et al., CLIP, ICML 2021                   |
| maskclip  | identity                           | reduced | Zhou, Loy and Dai, MaskCLIP, ECCV 2022            |
| sclip     | softmax(q q' s) + softmax(k k' s)  | vanilla | Wang, Mei and Yuille, SCLIP, ECCV 2024            |
| clearclip | softmax(q q' s)                    | reduced | Lan et al., ClearCLIP, ECCV 2024                  |
| naclip    | softmax(k k' s + omega)            | reduced | Hajimiri, Ben Ayed and Dolz, NACLIP, WACV 2025    |

"reduced" leaves out the residual and the MLP.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from core.clip.block import embed_on_grid, full_block, head_scale, projections
from core.clip.features import ClipFeatures
from core.methods.attention import Attention, TokenAttention, attend, attend_fed_back, explicit_weights
from core.methods.compose import Given
from core.methods.outliers import last_input
from core.methods.seen import Steps
from core.primitives.arrays import Array

ATTENTION_STRATEGIES = ("naclip", "nonly", "kk", "qq", "csa", "vanilla", "identity")
BLOCKS = ("reduced", "vanilla")
PAIRS = {"identity": (), "vanilla": ("qk",), "qq": ("qq",), "kk": ("kk",), "naclip": ("kk",), "csa": ("qq", "kk")}
"""Which projections each strategy compares; "nonly" compares none, and has a formula of its own."""


def vanilla(ops: Any, features: ClipFeatures, given: Given) -> tuple[Array, Steps]:
    """CLIP's own last block, read out at the patches."""
    return last_block(ops, features, given, "vanilla", "vanilla", given.neighbourhood)


def maskclip(ops: Any, features: ClipFeatures, given: Given) -> tuple[Array, Steps]:
    """Each patch keeps its own value: no attention at all."""
    return last_block(ops, features, given, "identity", "reduced")


def maskclip_idle(options: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Of the feedback's options the ensemble, where something else is on: with A = I, (A' A + A A' + A') / 3 is A'."""
    if "fsa" in parts and (options["isolate"] or options["prune"]):
        return {"ensemble": "the attention is the identity, and all that the ensemble averages is the corrected attention"}
    return {}


def sclip(ops: Any, features: ClipFeatures, given: Given) -> tuple[Array, Steps]:
    """Queries with queries plus keys with keys, the sum of both softmaxes, in the full block."""
    return last_block(ops, features, given, "csa", "vanilla", given.neighbourhood)


def clearclip(ops: Any, features: ClipFeatures, given: Given) -> tuple[Array, Steps]:
    """Queries with queries, in the reduced block."""
    return last_block(ops, features, given, "qq", "reduced", given.neighbourhood)


def naclip(
    ops: Any,
    features: ClipFeatures,
    given: Given,
    *,
    arch: str = "reduced",
    attn_strategy: str = "naclip",
    gaussian_std: float = 5.0,
) -> tuple[Array, Steps]:
    """Keys with keys plus a Gaussian neighbourhood of `gaussian_std` patches.

    arch: "reduced" or "vanilla". attn_strategy, the paper's: "naclip", "nonly" (the neighbourhood alone), "kk", "csa" (as
    sclip) or "vanilla"; also "qq" and "identity", the other methods' of this family.
    """
    std = gaussian_std if attn_strategy in ("naclip", "nonly") else None
    return last_block(ops, features, given, attn_strategy, arch, std)


def naclip_idle(options: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Naclip's options that have no effect among these, each with the reason."""
    idle = {}
    if options["attn_strategy"] not in ("naclip", "nonly"):
        idle["gaussian_std"] = f"attn_strategy {options['attn_strategy']} has no neighbourhood"
    if "fsa" in parts:
        idle["arch"] = "fsa works on the reduced block"
        if options["attn_strategy"] == "identity":
            idle |= maskclip_idle(options, parts)
    return idle


def last_block(
    ops: Any, features: ClipFeatures, given: Given, attn_strategy: str, arch: str, gaussian_std: float | None = None
) -> tuple[Array, Steps]:
    """Patch embeddings (B, h, w, E) from the last block with another attention, and all or part of the block.

    gaussian_std: of the neighbourhood added to the attention logits, None for none. Feedback works on the attention between
    patches, without the class token, and on the reduced block.
    """
    weights, (x, steps) = features.weights, last_input(ops, features, given)
    attention, v = attention_and_values(ops, features, x, attn_strategy, gaussian_std)

    def finish(patches: Array) -> Array:
        return embed_on_grid(ops, weights, patches, features.grid)

    if given.feedback is not None:
        patches = between_patches(ops, attention, weights.n_heads)
        fed = attend_fed_back(ops, weights, patches, v[:, 1:], given)
        if patches is not None:
            steps["attention"] = lambda: explicit_weights(ops, patches, weights.n_heads)
        if fed.corrected is not None:
            steps |= {"corrected_attention": fed.corrected, "before_feedback": lambda: finish(fed.before())}
        return finish(fed.values), steps
    if attention is not None:
        steps["attention"] = lambda: explicit_weights(ops, attention, weights.n_heads)[:, :, 1:, 1:]
    tokens = attend(ops, weights, attention, v)
    if arch == "vanilla":
        tokens = full_block(ops, weights, x, tokens)
    return finish(tokens[:, 1:]), steps


def attention_and_values(
    ops: Any, features: ClipFeatures, x: Array, attn_strategy: str, gaussian_std: float | None
) -> tuple[Attention | None, Array]:
    """The attention over class token and patches, None for the identity, and the values (B, 1 + N, D), of the input x."""
    s, omega = head_scale(features), None
    if gaussian_std is not None:
        omega = ops.neighbourhood_addition(*features.grid, gaussian_std, like=x)
    if attn_strategy == "nonly":
        q, k, v = projections(ops, features.weights, x)
        return [(1, neighbourhood_only(ops, q, k, features.weights.n_heads, s, omega))], v
    names = sorted({*"".join(PAIRS[attn_strategy]), "v"})
    token = dict(zip(names, projections(ops, features.weights, x, "".join(names)), strict=True))
    terms = [(1, TokenAttention(token[a], token[b], s, omega)) for a, b in PAIRS[attn_strategy]]
    return terms or None, token["v"]


def neighbourhood_only(ops: Any, q: Array, k: Array, n_heads: int, s: float, omega: Array) -> Array:
    r"""softmax($\omega\, s\, c$), (B, 1, M, M), with c the mean of $|q_p| |k_P|$ over heads and all pairs p, P of one image.

    The scale alone says how sharp the neighbourhood is; what the tokens hold does not enter otherwise.
    """
    q_length, k_length = (ops.mean(ops.norm(ops.split_heads(x, n_heads), axis=-1), axis=-1) for x in (q, k))
    c = ops.mean(q_length * k_length, axis=-1)
    return ops.softmax(omega[None, None] * (c[:, None, None, None] * s), axis=-1)


def between_patches(ops: Any, attention: Attention | None, n_heads: int) -> Attention | None:
    """The attention without the class token's row and column, its rows summing to 1 again; the identity as it is."""
    if attention is None:
        return None
    weights = explicit_weights(ops, attention, n_heads)[:, :, 1:, 1:]
    return [(1, weights / ops.sum(weights, axis=-1, keepdims=True))]

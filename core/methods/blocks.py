"""What every recipe is built on: the last block's projections, its two ways out, and the step into CLIP's shared space."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures, HeadWeights
from core.feedback import feed_back, weigh
from core.methods.parts import Parts


class TokenAttention(NamedTuple):
    """softmax(scale a b' + addition) of every head, not yet computed: a, b (B, M, D), heads being columns of them."""

    a: Array
    b: Array
    scale: float
    addition: Array | None = None


Attention = Sequence[tuple[float, TokenAttention | Array]]
"""A sum of attentions, each with its share: of tokens, or weights (B, H, M, M'), or (B, 1, M, M') the same for all heads.

Weights of tokens are built only where they are looked at (`attention_weights`); to mix values they need not be (`mix`).
"""


def projections(ops: Any, weights: HeadWeights, x: Array, which: str = "qkv") -> list[Array]:
    """Those of the last block's queries, keys and values that are asked for, of tokens x (B, M, D), each (B, M, D)."""
    x = ops.layer_norm(x, weights["ln_1.weight"], weights["ln_1.bias"], weights.eps)
    return [ops.linear(x, *weights.projection(name)) for name in which]


def head_scale(features: ClipFeatures) -> float:
    r"""$s = d^{-1/2}$, the scale of the attention logits; d is the width of one head."""
    return (features.hidden[-1].shape[-1] / features.weights.n_heads) ** -0.5


def attention_weights(ops: Any, attention: Attention, n_heads: int) -> Array:
    """The weights of the sum: (B, H, M, M'), or (B, 1, M, M') where no term is of tokens."""
    total = None
    for share, term in attention:
        if isinstance(term, TokenAttention):
            a, b = (ops.split_heads(x, n_heads) for x in (term.a, term.b))
            term = ops.attention_weights(a, b, term.scale, term.addition)
        total = _add_share(ops, total, share, term)
    return total


def mix(ops: Any, attention: Attention, v: Array, n_heads: int) -> Array:
    """The values under the sum of attentions: v (B, M', D) -> (B, M, D)."""
    total = None
    for share, term in attention:
        if isinstance(term, TokenAttention):
            mixed = ops.attention(term.a, term.b, v, n_heads, term.scale, term.addition)
        else:
            mixed = weigh(ops, term, v)
        total = _add_share(ops, total, share, mixed)
    return total


def _add_share(ops: Any, total: Array | None, share: float, x: Array) -> Array:
    x = x if share == 1 else x * ops.asarray(np.float64(share), like=x)
    return x if total is None else total + x


def attend(ops: Any, weights: HeadWeights, attention: Attention | None, v: Array) -> Array:
    """out_proj(A v): v (B, M', D) -> (B, M, D); None is the identity."""
    mixed = v if attention is None else mix(ops, attention, v, weights.n_heads)
    return ops.linear(mixed, weights["attn.out_proj.weight"], weights["attn.out_proj.bias"])


def attend_with_parts(
    ops: Any, weights: HeadWeights, attention: Attention | None, v: Array, parts: Parts, text: Array | None
) -> Array:
    """`attend` over the patches, with feedback after the attention has been corrected by its prediction for `text` (Q, E)."""
    if parts.feedback is None and parts.seen is None:
        return attend(ops, weights, attention, v)
    explicit = None if attention is None else attention_weights(ops, attention, weights.n_heads)
    parts.note(attention=explicit)
    if parts.feedback is None:
        return attend(ops, weights, attention, v)
    if explicit is None:
        explicit = ops.asarray(np.eye(v.shape[1])[None, None], like=v)
    out = partial(ops.linear, weight=weights["attn.out_proj.weight"], bias=weights["attn.out_proj.bias"])
    return attend_with_feedback(ops, weights, explicit, lambda a: weigh(ops, a, v), out, parts, text)


def attend_with_feedback(
    ops: Any,
    weights: HeadWeights,
    attention: Array,
    start: Callable[[Array], Array],
    out: Callable[[Array], Array],
    parts: Parts,
    text: Array | None,
) -> Array:
    """`feed_back` with CLIP's own prediction for `text` (Q, E). Raises InputError without text."""
    if text is None:
        raise InputError("fsa feeds the prediction back: it needs the text embeddings")
    phrases = ops.l2_normalise(ops.asarray(text, like=attention))

    def class_logits(mixed: Array) -> Array:
        return ops.inner_products(ops.l2_normalise(embed(ops, weights, out(mixed))), phrases)

    if parts.seen is not None:
        parts.note(before_feedback=out(start(attention)))
    note = None if parts.seen is None else parts.note
    return out(feed_back(ops, attention, start, class_logits, parts.feedback, note))


def full_block(ops: Any, weights: HeadWeights, x: Array, attended: Array) -> Array:
    """The block as CLIP has it: x + attended, then + mlp(ln_2(.)). All (B, M, D)."""
    x = x + attended
    y = ops.layer_norm(x, weights["ln_2.weight"], weights["ln_2.bias"], weights.eps)
    activation = ops.quick_gelu if weights.activation == "quick_gelu" else ops.gelu
    y = activation(ops.linear(y, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"]))
    return x + ops.linear(y, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])


def embed(ops: Any, weights: HeadWeights, tokens: Array) -> Array:
    """ln_post(tokens) @ proj: (B, M, D) -> (B, M, E), CLIP's shared space."""
    tokens = ops.layer_norm(tokens, weights["ln_post.weight"], weights["ln_post.bias"], weights.eps)
    return ops.matmul(tokens, weights["proj"])


def check_choice(option: str, value: str, offered: tuple[str, ...]) -> None:
    """Raises InputError when an option's value is not one of those offered."""
    if value not in offered:
        raise InputError(f"{option} must be one of {', '.join(offered)}, not {value!r}")

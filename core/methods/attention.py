"""Attention as the recipes speak of it: sums of softmaxes over tokens or of given weights, mixed into values, or fed back.

The step from tokens to queries, keys and values, and the block's two ways out, are `core.clip.block`'s.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from core.clip.block import embed
from core.clip.features import HeadWeights
from core.errors import InputError
from core.methods.compose import Given
from core.methods.feedback import Fed, feed_back, weigh
from core.primitives.arrays import Array


class TokenAttention(NamedTuple):
    """softmax(scale a b' + addition) of every head, not yet computed: a, b (B, M, D), heads being columns of them."""

    a: Array
    b: Array
    scale: float
    addition: Array | None = None


Attention = Sequence[tuple[float, TokenAttention | Array]]
"""A sum of attentions, each with its share: of tokens, or weights (B, H, M, M'), or (B, 1, M, M') the same for all heads.

Weights of tokens are built only where they are looked at (`explicit_weights`); to mix values they need not be (`mix`).
"""


def explicit_weights(ops: Any, attention: Attention, n_heads: int) -> Array:
    """The weights of the sum: (B, H, M, M'), or (B, 1, M, M') where no term is of tokens."""
    total = None
    for share, term in attention:
        if isinstance(term, TokenAttention):
            a, b = (ops.split_heads(x, n_heads) for x in (term.a, term.b))
            term = ops.attention_weights(a, b, term.scale, term.addition)
        total = _add_share(total, share, term)
    return total


def mix(ops: Any, attention: Attention, v: Array, n_heads: int) -> Array:
    """The values under the sum of attentions: v (B, M', D) -> (B, M, D)."""
    total = None
    for share, term in attention:
        if isinstance(term, TokenAttention):
            mixed = ops.attention(term.a, term.b, v, n_heads, term.scale, term.addition)
        else:
            mixed = weigh(ops, term, v)
        total = _add_share(total, share, mixed)
    return total


def _add_share(total: Array | None, share: float, x: Array) -> Array:
    x = x if share == 1 else share * x
    return x if total is None else total + x


def attend(ops: Any, weights: HeadWeights, attention: Attention | None, v: Array) -> Array:
    """out_proj(A v): v (B, M', D) -> (B, M, D); None is the identity."""
    mixed = v if attention is None else mix(ops, attention, v, weights.n_heads)
    return ops.linear(mixed, weights["attn.out_proj.weight"], weights["attn.out_proj.bias"])


def attend_fed_back(ops: Any, weights: HeadWeights, attention: Attention | None, v: Array, given: Given) -> Fed:
    """`attend` over patches v (B, M, D) after the attention has been corrected by its own prediction for `given.text`."""
    if attention is None:
        explicit = ops.asarray(np.eye(v.shape[1])[None, None], like=v)
    else:
        explicit = explicit_weights(ops, attention, weights.n_heads)
    out = partial(ops.linear, weight=weights["attn.out_proj.weight"], bias=weights["attn.out_proj.bias"])
    return feed_back_and_project(ops, weights, explicit, lambda a: weigh(ops, a, v), out, given)


def feed_back_and_project(
    ops: Any,
    weights: HeadWeights,
    attention: Array,
    start: Callable[[Array], Array],
    out: Callable[[Array], Array],
    given: Given,
) -> Fed:
    """`feed_back` with CLIP's own prediction for `given.text` (Q, E), its values and what came before through `out`.

    Raises InputError without text.
    """
    if given.text is None:
        raise InputError("fsa feeds the prediction back: it needs the text embeddings")
    phrases = ops.l2_normalise(ops.asarray(given.text, like=attention))

    def class_logits(mixed: Array) -> Array:
        return ops.inner_products(ops.l2_normalise(embed(ops, weights, out(mixed))), phrases)

    fed = feed_back(ops, attention, start, class_logits, given.feedback)
    return fed._replace(values=out(fed.values), before=lambda: out(fed.before()))

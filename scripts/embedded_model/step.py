"""What a training step of the embedded model is made of: captions, pools of pictures, forward passes, losses."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.scenes import BACKGROUNDS, COLOURS, PAIRS, SEEN, SHAPES, draw, sample_layout

FACTS = (*PAIRS, *BACKGROUNDS, *(f"{colour} shape" for colour in COLOURS), *SHAPES)
"""Everything that a phrase can state of a picture: 64 pairs, 6 backgrounds, 8 colours, 8 shapes."""

FACT_INDEX = {fact: i for i, fact in enumerate(FACTS)}
PATCH_PHRASES = (*SEEN, *FACTS[len(PAIRS) :])
"""The phrases of the patch term: all facts but the held-out pairs."""


@dataclass(frozen=True)
class Stage:
    """One stage of training on pictures of `size` pixels a side.

    batch and pool are per worker; a pool serves `reuse` times, then fresh pictures are drawn. The learning rate goes
    from lr to lr_end by a cosine. n_objects: the probabilities of 1, 2, ... objects. radius_one, radius_more: the range
    of a lone object's radius and of several objects', over the side. patch_weight: of the patch term, which with `keys`
    is also read through the keys' self-attention. unnamed: how often each shape in a colour without a name stands among
    the pairs to draw from; it is captioned by its shape. decay_steps: of the cosine, where it is longer than the stage.
    """

    size: int
    steps: int
    batch: int
    lr: float
    lr_end: float
    n_objects: tuple[float, ...]
    radius_one: tuple[float, float]
    radius_more: tuple[float, float] = (0.15, 0.28)
    patch_weight: float = 0.0
    keys: bool = False
    unnamed: int = 0
    decay_steps: int | None = None
    warm_up: int = 50
    pool: int = 4096
    reuse: int = 4


@dataclass(frozen=True)
class Pool:
    """Pictures (n, 3, S, S) uint8, what each shows, and its facts (n, len(FACTS)) as 0/1."""

    images: Tensor
    objects: list[tuple[str, ...]]
    backgrounds: list[str]
    facts: Tensor


def facts_of(objects: tuple[str, ...], background: str) -> list[str]:
    """All facts that hold for a picture of these pairs on this background."""
    colours = [f"{pair.split()[0]} shape" for pair in objects if " " in pair]
    return [*objects, background, *colours, *(pair.split()[-1] for pair in objects)]


def make_pool(stage: Stage, rng: np.random.Generator) -> Pool:
    """Draw a fresh pool of pictures in which only seen pairs occur, and shapes in colours without a name."""
    names = SEEN + SHAPES * stage.unnamed
    images, objects, backgrounds = [], [], []
    facts = torch.zeros(stage.pool, len(FACTS))
    for i in range(stage.pool):
        n = 1 + int(rng.choice(len(stage.n_objects), p=stage.n_objects))
        radius = stage.radius_one if n == 1 else stage.radius_more
        layout = sample_layout(rng, names, n, radius, (stage.size, stage.size))
        images.append(draw(layout, stage.size, stage.size)[0])
        objects.append(tuple(item.pair for item in layout.items))
        backgrounds.append(layout.background)
        facts[i, [FACT_INDEX[fact] for fact in facts_of(objects[-1], layout.background)]] = 1
    return Pool(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), objects, backgrounds, facts)


def caption(objects: tuple[str, ...], background: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """A true caption of a picture and the facts it states.

    Objects come in random order; now and then some are left out, the background is, or all but the background;
    some objects are named by their colour or their shape alone.
    """
    kind = rng.random()
    if kind < 0.06:
        return f"{rng.choice(('', 'the '))}{background}", [background]
    order = [objects[i] for i in rng.permutation(len(objects))]
    if kind < 0.18 and len(order) > 1:
        order = order[: rng.integers(1, len(order))]
    stated = []
    for pair in order:
        colour, shape = pair.split()[0], pair.split()[-1]
        part = rng.random() if colour != shape else 1.0
        stated.append(f"{colour} shape" if part < 0.07 else shape if part < 0.16 else pair)
    article = "" if rng.random() < 0.25 else "a "
    text = " and ".join(article + fact for fact in stated)
    if rng.random() < 0.12:
        text = f"a photo of {text}"
    if rng.random() < 0.7:
        return f"{text} on {background}", [*stated, background]
    return text, stated


def caption_batch(pool: Pool, rows: np.ndarray, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """A caption for each of the pictures `rows`, and the facts that they state, (B, len(FACTS)) as 0/1."""
    texts, stated = [], torch.zeros(len(rows), len(FACTS))
    for i, row in enumerate(rows):
        text, facts = caption(pool.objects[row], pool.backgrounds[row], rng)
        texts.append(text)
        stated[i, [FACT_INDEX[fact] for fact in facts]] = 1
    return texts, stated


def attend(layer: torch.nn.MultiheadAttention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-head self-attention by batched products: on CPUs in bfloat16 about twice as fast as the fused kernel."""
    batch, n, width = x.shape
    heads, depth = layer.num_heads, width // layer.num_heads
    qkv = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).view(batch, n, 3, heads, depth)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, n, depth).unbind(0)
    logits = torch.bmm(q * depth**-0.5, k.transpose(1, 2))
    if mask is not None:
        logits = logits + mask
    out = torch.bmm(logits.softmax(-1), v).view(batch, heads, n, depth).transpose(1, 2).reshape(batch, n, width)
    return F.linear(out, layer.out_proj.weight, layer.out_proj.bias)


def run_block(block: torch.nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """One residual block of open_clip's transformer."""
    x = x + attend(block.attn, block.ln_1(x), mask)
    return x + block.mlp(block.ln_2(x))


def window_positions(embedding: Tensor, side: int, corners: np.ndarray) -> Tensor:
    """Position embeddings (B, side * side, D) of windows of the trained grid, with top left `corners` (B, 2)."""
    full = math.isqrt(embedding.shape[0] - 1)
    grid = embedding[1:].view(full, full, -1)
    steps = torch.arange(side)
    rows, columns = (torch.from_numpy(corners[:, axis])[:, None] + steps for axis in (0, 1))
    return grid[rows[:, :, None], columns[:, None, :]].flatten(1, 2)


def encode_image(visual: torch.nn.Module, pixels: Tensor, corners: np.ndarray) -> tuple[Tensor, Tensor]:
    """Class-token embeddings (B, E), and what enters the last block (B, 1 + N, D), from which `patch_paths` reads.

    `pixels` (B, 3, S, S) stand for windows of the full grid.
    """
    x = visual.conv1(pixels)
    side = x.shape[-1]
    x = x.flatten(2).transpose(1, 2) + window_positions(visual.positional_embedding, side, corners)
    first = (visual.class_embedding + visual.positional_embedding[0]).expand(x.shape[0], 1, -1)
    x = visual.ln_pre(torch.cat([first, x], 1))
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = run_block(block, x)
    return visual.ln_post(run_block(last, x)[:, 0]) @ visual.proj, x


def patch_paths(visual: torch.nn.Module, x: Tensor, keys: bool) -> list[Tensor]:
    """Embeddings of the patches (B, N, E) through the last block without residual and MLP.

    `ln_post(out_proj(A v)) @ proj` with A the identity, and with `keys` also with A = softmax(k k' / sqrt(d)).
    """
    block = visual.transformer.resblocks[-1]
    layer, (batch, n, width) = block.attn, x.shape
    heads, depth = layer.num_heads, width // layer.num_heads
    kv = F.linear(block.ln_1(x), layer.in_proj_weight[width:], layer.in_proj_bias[width:])
    k, v = kv.view(batch, n, 2, heads, depth).permute(2, 0, 3, 1, 4).reshape(2, batch * heads, n, depth).unbind(0)
    mixed = [v]
    if keys:
        mixed.append(torch.bmm(torch.bmm(k * depth**-0.5, k.transpose(1, 2)).softmax(-1), v))
    flat = (o.view(batch, heads, n, depth).transpose(1, 2).reshape(batch, n, width)[:, 1:] for o in mixed)
    return [visual.ln_post(F.linear(o, layer.out_proj.weight, layer.out_proj.bias)) @ visual.proj for o in flat]


def encode_text(model: torch.nn.Module, tokens: np.ndarray) -> Tensor:
    """Text embeddings (n, E) of a tokenizer's (n, L), run only as far as the longest text (the mask is causal)."""
    length = int((tokens != 0).sum(1).max())
    tokens = torch.from_numpy(tokens[:, :length])
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    mask = model.attn_mask[:length, :length].to(x.dtype)
    for block in model.transformer.resblocks:
        x = run_block(block, x, mask)
    x = model.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(1)]
    return x @ model.text_projection


def contrastive_loss(logits: Tensor, facts: Tensor, stated: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy; a caption that is true of another picture is no negative for it.

    logits (B, B) of pictures against captions; facts, stated (B, F): what pictures show, what captions say.
    """
    also_true = facts @ stated.T >= stated.sum(1)[None] - 0.5
    also_true.fill_diagonal_(False)
    logits = logits.masked_fill(also_true, -1e4)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def patch_loss(cosines: Tensor, present: Tensor, scale: Tensor, tau: float = 0.1) -> Tensor:
    """Present phrases against absent ones, each scored by the log-mean-exp of its cosines over the patches.

    cosines (B, N, P) of patches and phrases; present (B, P) bool, known from the captions' facts, never from pixels.
    """
    score = tau * (torch.logsumexp(cosines / tau, 1) - math.log(cosines.shape[1])) * scale
    absent = score.masked_fill(present, -1e4).logsumexp(1, keepdim=True)
    return F.softplus(absent - score)[present].mean()

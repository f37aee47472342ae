"""What a CLIP with two transformers is made of: the numbers that its weights' shapes leave open or tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels in 0..1, RGB, that CLIP's authors trained with, and most after them."""


@dataclass(frozen=True)
class Tower:
    """One transformer: L blocks of a width D, each with heads of D / heads, and an MLP of its own width."""

    width: int
    layers: int
    heads: int
    mlp_width: int


@dataclass(frozen=True)
class Architecture:
    """A CLIP: an image tower with a class token, a causal text tower, and the space of `embed_dim` that they share.

    image_size, patch_size: pixels of the trained square picture and of a patch. context_length, vocab_size: tokens of a text,
    and how many there are. activation: "gelu" or "quick_gelu". eps: of the layer norms. mean, std: of the pixels in 0..1, RGB.
    """

    embed_dim: int
    image: Tower
    image_size: int
    patch_size: int
    text: Tower
    context_length: int
    vocab_size: int
    activation: str = "gelu"
    eps: float = 1e-5
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD


@dataclass(frozen=True)
class ClipWeights:
    """A CLIP's weights without a framework, and all that comes with them.

    state: NumPy arrays by open_clip's names (`visual.conv1.weight`, `transformer.resblocks.0.ln_1.weight`, ...), float32 or, as
    the file has it, float16; what the towers do not read is left out. name, pretrained: how the model was asked for.
    sha256: of the file. tokenizer: texts to token ids (n, context_length) int64; None where no vocabulary is there. templates:
    of the text, each with one "{}". preset: settings that suit the model, by the names of `core.segment.settings`.
    """

    state: Mapping[str, np.ndarray]
    architecture: Architecture
    name: str
    pretrained: str | Path | None
    sha256: str
    tokenizer: Callable[[Sequence[str]], np.ndarray] | None
    templates: Sequence[str]
    preset: Mapping[str, Any] = field(default_factory=dict)

"""The frozen CLIP that feeds the heads: an open_clip model's image tower, opened up before its last block."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from core.backends import load_backend
from core.clip.features import ClipFeatures, HeadWeights
from core.clip.text import PhraseEmbeddings
from core.clip.truncation import tell_truncated
from core.errors import InputError
from core.primitives.arrays import Array
from torch_backend.clip.architecture import check_architecture
from torch_backend.clip.loading import LoadedClip, load_clip
from torch_backend.device import choose_device
from torch_backend.primitives.attention import attention_weights
from torch_backend.primitives.ops import asarray
from torch_backend.undisturbed import undisturbed
from torch_backend.weights.digest import state_sha256

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
GRID_OFFSET = 0.1  # DINO's guard against rounding in the scale of the position grid, kept by every published method


class ClipBackbone:
    """Any open_clip CLIP with a ViT image tower that has a class token, as `core.clip.model.ClipModel` wants one.

    model: an open_clip model in hand, or a name such as "ViT-B-16", or "embedded". pretrained: an open_clip tag such as
    "openai", or a local file (safetensors, or .pt read with weights_only). quick_gelu: overrides what the weights are
    found to need; it and pretrained go with a name, not with a model in hand. device: "cpu", "cuda", or None for a GPU where
    one can be used. precision: "fp32", or "fp16" or "bf16" for the image tower's products alone; hidden states, heads and
    text stay in float32. templates: of the text in place of the model's own, each with one "{}" for the phrase.

    What the caller has left on, such as autocast, another default dtype or inference mode, reaches nothing of it.

    Raises InputError when the architecture cannot serve the heads, the weights cannot be had, the device is not there, or a
    template has no place for the phrase.
    """

    @undisturbed()
    def __init__(
        self,
        model: nn.Module | str = "embedded",
        pretrained: str | None = None,
        *,
        device: str | None = None,
        quick_gelu: bool | None = None,
        precision: str = "fp32",
        templates: Sequence[str] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.device, self.precision = choose_device(device), precision
        if isinstance(model, str):
            loaded = load_clip(model, pretrained, quick_gelu)
        elif pretrained is not None or quick_gelu is not None:
            raise InputError("a model in hand has its weights and its activation: leave pretrained and quick_gelu out")
        else:
            loaded = LoadedClip(model, name=type(model).__name__)
        check_architecture(loaded.model)
        self.model = loaded.model.eval().to(self.device)
        self.visual = self.model.visual
        self.patch_size: int = self.visual.patch_size[0]
        self.image_size: int = self.visual.image_size[0]
        self.weights = head_weights(self.visual)
        self.n_layers: int = len(self.visual.transformer.resblocks)
        self.name, self.pretrained, self.activation = loaded.name, loaded.pretrained, loaded.activation
        self.mean: Sequence[float] = loaded.mean
        self.std: Sequence[float] = loaded.std
        self._tokenizer, self._file_sha256 = loaded.tokenizer, loaded.weights_sha256
        self.preset: Mapping[str, Any] = loaded.preset
        self.templates: Sequence[str] = _checked(loaded.templates if templates is None else templates)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file; of the parameters themselves for a model that came without a file."""
        return self._file_sha256 or state_sha256(self.model)

    @property
    def dtype(self) -> str:
        """What the weights are kept in, such as "float32"."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @cached_property
    def _phrases(self) -> PhraseEmbeddings:
        return PhraseEmbeddings(self._encode, self.templates, (self.weights_sha256, self.activation))

    @property
    def n_encoded(self) -> int:
        """Phrases encoded so far; those read from the cache are not among them."""
        return self._phrases.n_encoded

    @undisturbed()
    def features(self, pixels: Array, attention: bool = False) -> ClipFeatures:
        """Runs the tower up to its last block.

        pixels: (B, 3, H, W) float32, RGB, normalised by the model's mean and std. A side that the patches do not divide
        loses the rest, as the tower's own convolution does. attention: also give block L-2's attention weights.

        Raises InputError for pixels of another shape or smaller than one patch.
        """
        pixels = asarray(pixels).to(self.device, torch.float32)
        if pixels.ndim != 4 or pixels.shape[1] != 3 or min(pixels.shape[2:]) < self.patch_size:
            size = self.patch_size
            raise InputError(f"pixels must be (B, 3, H, W) with sides of at least {size}, not {tuple(pixels.shape)}")
        visual = self.visual
        with self._autocast():
            patches = visual.conv1(pixels.to(visual.conv1.weight.dtype))
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.to(visual.conv1.weight.dtype)
        class_token = visual.class_embedding.expand(len(patches), 1, -1).to(patches.dtype)
        x = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        x = visual.ln_pre(x + position_embedding(visual, grid).to(x.dtype))
        hidden, weights = [], None
        blocks = visual.transformer.resblocks
        for index, block in enumerate(blocks[:-1]):
            if attention and index == len(blocks) - 2:
                weights = block_attention(block, x)
            with self._autocast():
                x = block(x)
            hidden.append(x.float())
        return ClipFeatures(hidden, self.weights, grid, weights)

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    @undisturbed()
    def text_embeddings(self, phrases: list[str]) -> np.ndarray:
        """(Q, E) float32 of unit length: each phrase in every template, averaged; cached on disk.

        A note on the error stream names each phrase that is cut, being longer than the model reads.
        """
        embeddings = self._phrases.embed(phrases)
        tell_truncated(self._tokenizer, self.templates, phrases)
        return embeddings

    def _encode(self, texts: list[str]) -> np.ndarray:
        tokens = torch.as_tensor(self._tokenizer(texts))
        embeddings = self.model.encode_text(tokens.to(self.device), normalize=True).float()
        return nn.functional.normalize(embeddings.mean(dim=0), dim=0).cpu().numpy()

    @undisturbed()
    def image_embeddings(self, pixels: Array) -> np.ndarray:
        """(B, E) float32 of pixels (B, 3, H, W) of the trained size, through the whole tower, at the class token.

        Not normalised. Raises InputError for another size: the model's own forward takes no other.
        """
        trained, shape = tuple(self.visual.image_size), tuple(pixels.shape)
        if shape[1:] != (3, *trained):
            raise InputError(f"pixels must be (B, 3, H, W) of the trained {trained[0]} x {trained[1]}, not {shape}")
        return self.model.encode_image(asarray(pixels).to(self.device)).float().cpu().numpy()


def _checked(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates, each of which must have one place for the phrase, and there must be one at least."""
    if isinstance(templates, str) or not templates or any(template.count("{}") != 1 for template in templates):
        raise InputError(f'templates must be a list of texts with one "{{}}" each, not {templates!r}'[:200])
    return tuple(templates)


def head_weights(visual: VisionTransformer) -> HeadWeights:
    """The tensors of the last block and of the tower's end, shared with the model, in float32."""
    block = visual.transformer.resblocks[-1]
    arrays = {name: tensor.detach().float() for name, tensor in block.state_dict(keep_vars=True).items()}
    arrays |= {f"ln_post.{name}": tensor.detach().float() for name, tensor in visual.ln_post.state_dict().items()}
    arrays["proj"] = visual.proj.detach().float()
    activation = "gelu" if isinstance(block.mlp.gelu, nn.GELU) else "quick_gelu"
    return HeadWeights(arrays, block.attn.num_heads, activation, block.ln_1.eps)


def position_embedding(visual: VisionTransformer, grid: tuple[int, int]) -> torch.Tensor:
    """(1 + h w, D): the class token's place, then the trained grid, resized bicubically to another grid."""
    trained, table = visual.grid_size, visual.positional_embedding.float()
    if tuple(grid) == tuple(trained):
        return table
    field = table[1:].T.reshape(1, -1, *trained)
    scale = tuple((side + GRID_OFFSET) / side_trained for side, side_trained in zip(grid, trained, strict=True))
    return torch.cat([table[:1], load_backend("torch").resize_bicubic(field, grid, scale).flatten(2)[0].T])


def block_attention(block: ResidualAttentionBlock, x: torch.Tensor) -> torch.Tensor:
    """softmax(q k' s) of a block for its input x (B, 1 + N, D) -> (B, H, 1 + N, 1 + N)."""
    attn = block.attn
    projected = nn.functional.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    q, k, _ = projected.float().chunk(3, dim=-1)
    q, k = (load_backend("torch").split_heads(x, attn.num_heads) for x in (q, k))
    return attention_weights(q, k, attn.head_dim**-0.5)

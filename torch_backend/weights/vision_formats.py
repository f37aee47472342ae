"""The names that transformers gives the weights of plain vision transformers (DINO, DINOv2, MAE, ViT), and timm's for them."""

import re
from collections.abc import Iterable, Mapping

import torch

ENDS = {
    "embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed", "embeddings.mask_token": "mask_token",
    "embeddings.register_tokens": "register_tokens", "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}  # fmt: skip
IN_BLOCK = {
    "layernorm_before": "norm1", "layernorm_after": "norm2", "norm1": "norm1", "norm2": "norm2",
    "attention.output.dense": "attn.proj", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
    "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.w12", "mlp.weights_out": "mlp.w3",
}  # fmt: skip
STACKED = re.compile(r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)")
BLOCK = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
UNREAD = ("pooler.", "decoder.")
PARTS = ("query", "key", "value")


def in_timm(names: Iterable[str]) -> list[str]:
    """The names by which transformers' files for a model with timm's `names` are found."""
    blocks = {match[1] for name in names if (match := re.match(r"blocks\.(\d+)\.", name))}
    kinds = ("weight", "bias")
    inner = [f"attention.attention.{part}.{kind}" for part in PARTS for kind in kinds]
    inner += [f"{theirs}.{kind}" for theirs in IN_BLOCK for kind in kinds]
    return [f"encoder.layer.{number}.{name}" for number in blocks for name in inner] + list(ENDS)


def from_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under timm's names, or the names of the authors of DINOv2, which timm renames; others stay as they are.

    Query, key and value are one matrix in timm.
    """
    if not any(STACKED.fullmatch(name) for name in state):
        return dict(state)
    renamed, stacks = {}, {}
    for name, x in state.items():
        stacked, block = STACKED.fullmatch(name), BLOCK.fullmatch(name)
        if stacked:
            number, part, kind = stacked.groups()
            stacks.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[part] = x
        elif block:
            renamed[f"blocks.{block[1]}.{_renamed(block[2], IN_BLOCK)}"] = x
        elif not name.startswith(UNREAD):
            renamed[_renamed(name, ENDS)] = x
    for name, parts in stacks.items():
        whole = len(parts) == len(PARTS) and len({tuple(x.shape) for x in parts.values()}) == 1
        renamed |= {name: torch.cat([parts[part] for part in PARTS])} if whole else parts
    return renamed


def _renamed(name: str, table: Mapping[str, str]) -> str:
    if name in table:
        return table[name]
    stem, _, kind = name.rpartition(".")
    return f"{table[stem]}.{kind}" if stem in table else name

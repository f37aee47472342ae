"""The names that CLIP's weights have in other packages' files, and what makes open_clip's of them.

A format is a table: open_clip's name -> the names in the file, their shapes, and how they are joined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """The entries of a file of which one weight is made: as it is, transposed, or several stacked."""

    names: tuple[str, ...]
    transposed: bool = False

    def shape(self, own: Shape) -> Shape:
        """The shape that each entry has, for a weight of shape `own`."""
        if self.transposed:
            return own[::-1]
        return (own[0] // len(self.names), *own[1:]) if len(self.names) > 1 else own

    def make(self, entries: list[torch.Tensor]) -> torch.Tensor:
        """The weight."""
        if len(entries) > 1:
            return torch.cat(entries)
        return entries[0].T if self.transposed else entries[0]


Format = Mapping[str, Source]

TRANSFORMERS = "transformers"
"""The format of transformers' CLIPModel."""

TEXT = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final")
"""What the text tower's names begin with, where it has no module of its own."""

ENDS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight", "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight", "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight", "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection.weight": "text_projection.weight", "logit_scale": "logit_scale", "logit_bias": "logit_bias",
}  # fmt: skip
PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}  # matrices x W there
IN_BLOCK = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
            "mlp.c_proj": "mlp.fc2"}  # fmt: skip
TOWERS = {
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "transformer.resblocks.": "text_model.encoder.layers.",
}


def formats(names: list[str]) -> dict[str, Format]:
    """Every format in which weights of these open_clip names may come, open_clip's own first."""
    tables: dict[str, Callable[[str], Source | None]] = {
        "open_clip": lambda name: Source((name,)),
        "open_clip, its text tower as a module": lambda name: Source((f"text.{name}" if name.startswith(TEXT) else name,)),
        "open_clip, its text tower at the top": lambda name: Source((name.removeprefix("text."),)),
        TRANSFORMERS: lambda name: _in_transformers(name.removeprefix("text.")),
    }
    found: dict[str, Format] = {}
    for title, source in tables.items():
        table = {name: source(name) for name in names}
        if None not in table.values() and table not in found.values():
            found[title] = table
    return found


def _in_transformers(name: str) -> Source | None:
    """Where transformers' CLIPModel keeps a weight; None for what it has not."""
    if name in ENDS:
        return Source((ENDS[name],))
    if name in PROJECTIONS:
        return Source((PROJECTIONS[name],), transposed=True)
    for own, theirs in TOWERS.items():
        if name.startswith(own):
            number, _, rest = name.removeprefix(own).partition(".")
            part, _, kind = rest.rpartition(".")
            if part in IN_BLOCK:
                return Source((f"{theirs}{number}.{IN_BLOCK[part]}.{kind}",))
            if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
                kind = rest.rpartition("_")[2]
                return Source(tuple(f"{theirs}{number}.self_attn.{x}_proj.{kind}" for x in "qkv"))
    return None

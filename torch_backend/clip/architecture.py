"""Which CLIP image towers the heads can read."""

from typing import Any

from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from core.errors import InputError


def check_architecture(model: Any) -> None:
    """Raises InputError, naming what is missing, when the heads cannot read this model's image tower."""
    visual = getattr(model, "visual", None)
    lacks = None
    if not isinstance(visual, VisionTransformer):
        lacks = f"its image tower is a {type(visual).__name__}, not open_clip's VisionTransformer"
    elif visual.attn_pool is not None:
        lacks = "it pools its patches by attention"
    elif visual.pool_type != "tok" or visual.final_ln_after_pool:
        lacks = "it reads its embedding from the mean of the patches, not from a class token"
    elif visual.proj is None:
        lacks = "it has no projection into the space shared with text"
    elif visual.patch_size[0] != visual.patch_size[1]:
        lacks = "its patches are not square"
    elif any(not _plain_block(block) for block in visual.transformer.resblocks):
        lacks = "its blocks are not plain attention and MLP"
    elif len(visual.transformer.resblocks) < 2:
        lacks = "it has fewer than two blocks"
    if lacks:
        raise InputError(f"this model cannot serve the heads: {lacks}; use a CLIP ViT such as ViT-B-16")


def _plain_block(block: nn.Module) -> bool:
    if type(block) is not ResidualAttentionBlock or not block.attn.batch_first:
        return False
    unscaled = isinstance(block.ls_1, nn.Identity) and isinstance(block.ls_2, nn.Identity)
    return unscaled and (isinstance(block.mlp.gelu, nn.GELU) or type(block.mlp.gelu).__name__ == "QuickGELU")

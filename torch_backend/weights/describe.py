"""What weights look like, for errors: which model of open_clip, or which other family, by names and shapes."""

import re
from collections.abc import Mapping
from itertools import islice

import open_clip
import torch

from torch_backend.weights.words import listed

FAMILIES = (
    (r"lora_", "an adapter (LoRA), which is no use without the weights it changes"),
    (r"visual\.layer1\.0\.", "a CLIP with a ResNet"),
    (r"visual\.trunk\.", "a CLIP of open_clip with an image tower of timm"),
    (r"visual\.blocks\.\d+\.", "an EVA-CLIP"),
    (r"vision_model\.head\.probe", "a SigLIP of transformers"),
    (r"vision_model\.encoder\.layers\.", "a model of transformers with CLIP's image tower"),
    (r"text_model\.encoder\.layers\.", "a text tower of transformers, alone"),
    (r"image_encoder\.blocks\.\d+\.|vision_encoder\.layers\.\d+\.attn\.rel_pos", "a SAM"),
    (r"encoder\.layer\.\d+\.attention\.attention\.query", "a vision transformer of transformers, such as DINO, DINOv2 or ViT"),
    (r"blocks\.\d+\.attn\.qkv\.", "a vision transformer in timm's names, such as DINO, DINOv2 or MAE"),
    (r"encoder\.layer\.\d+\.attention\.self\.query", "a BERT"),
    (r"layers\.\d+\.self_attn\.q_proj", "a language model"),
    (r"layer1\.0\.conv1\.", "a ResNet"),
)
MOST_LOOKED_AT = 10_000
OWN = {"width": "visual.conv1.weight", "embed": "visual.proj", "words": "token_embedding.weight"}
TRANSFORMERS = {
    "width": "vision_model.embeddings.patch_embedding.weight", "embed": "visual_projection.weight",
    "words": "text_model.embeddings.token_embedding.weight",
}  # fmt: skip


def looks_like(entries: Mapping[str, torch.Tensor], name: str = "", some_found: bool = True) -> str:
    """What to add to an error: "; it looks like ...", or at least what its names are like.

    entries: by their full names in the file. name: the model asked for, of which nothing is said. some_found: some of its
    names are there, so that it goes without saying what the others are like.
    """
    entries = {name: x for name, x in islice(entries.items(), MOST_LOOKED_AT) if not x.is_nested}  # those have no shape
    models = _models(entries)
    if name.removesuffix("-quickgelu") in models:
        return ""
    if models:
        return f"; it looks like {listed(models, 2)}"
    for pattern, words in FAMILIES:
        if any(re.search(pattern, name) for name in entries):
            return f"; it looks like {words}"
    return "" if some_found else f"; its names are such as {listed(sorted(entries), 2)}"


def _models(entries: Mapping[str, torch.Tensor]) -> list[str]:
    """The open_clip models, without their -quickgelu twins, that have these weights' sizes."""
    for names, vision, text in ((OWN, r"visual\.", r"transformer\."), (TRANSFORMERS, r"vision_model\.", r"text_model\.")):
        sizes = _sizes(entries, names, vision, text)
        if sizes:
            known = [name for name in open_clip.list_models() if not name.endswith("-quickgelu")]
            return sorted((name for name in known if _config_sizes(name) == sizes), key=len)
    return []


def _sizes(entries: Mapping[str, torch.Tensor], names: Mapping[str, str], vision: str, text: str) -> tuple | None:
    shapes = {}
    for what, end in names.items():
        found = [tuple(x.shape) for name, x in entries.items() if name == end or name.endswith(f".{end}")]
        if not found or len(found[0]) != (4 if what == "width" else 2):
            return None
        shapes[what] = found[0]
    layers = [_count(entries, rf"(?:^|\.){vision}"), _count(entries, rf"(?:^|(?<!visual)\.){text}")]
    width, _, _, patch = shapes["width"]
    embed = shapes["embed"][0] if names is TRANSFORMERS else shapes["embed"][1]
    return (embed, width, layers[0], patch, *shapes["words"][::-1], layers[1])


def _count(entries: Mapping[str, torch.Tensor], tower: str) -> int:
    pattern = re.compile(tower + r"(?:transformer\.|encoder\.)?(?:resblocks|layers)\.(\d+)\.")
    return len({match[1] for name in entries if (match := pattern.search(name))})


def _config_sizes(name: str) -> tuple | None:
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    plain = isinstance(vision.get("layers"), int) and "width" in text
    if not plain or "multimodal_cfg" in config or "timm_model_name" in vision:
        return None
    patch = vision.get("patch_size", 16)
    words = (text["width"], text.get("vocab_size", 49408), text.get("layers", 12))
    return (config["embed_dim"], vision.get("width", 768), vision["layers"], patch, *words)

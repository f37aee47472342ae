"""Which activation a local file's weights were trained with: OpenAI's need QuickGELU, open_clip's plain names say GELU."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from core.errors import InputError
from core.files.reading import read_json

OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # only files written by OpenAI's own code hold these
PUBLISHED = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336")  # the transformers whose weights OpenAI published
OTHERS = ("laion", "datacomp", "commonpool", "metaclip", "dfn")  # whose names speak against OpenAI
LONGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class Activation:
    """Whether QuickGELU, why, and what speaks for the other one, though not enough to take it."""

    quick_gelu: bool
    reason: str
    doubt: str = ""

    @property
    def says(self) -> str:
        """In one line."""
        words = f"{'quick_gelu' if self.quick_gelu else 'gelu'} ({self.reason}{'; but ' + self.doubt if self.doubt else ''})"
        return f"{words}; --quick-gelu or --no-quick-gelu overrides"


def find_activation(
    name: str, path: Path, keys: Collection[str], state: Mapping[str, torch.Tensor], in_transformers: bool = False
) -> Activation:
    """The activation for weights of the open_clip architecture `name`, whose file alone is at hand.

    A strong sign overrides what open_clip configures for the name: entries that only OpenAI's own files have, or a
    configuration beside the file. A weak one (the file's name, values of half precision as OpenAI published them) does not,
    but is told. keys: the names in the file. state: the weights, checked. in_transformers: the file was named as
    transformers names CLIP's weights.
    """
    extra = [key for key in OPENAI_KEYS if any(k == key or k.endswith(f".{key}") for k in keys)]
    if extra:
        return Activation(True, f"it holds OpenAI's {extra[0]}")
    beside = _stated_beside(path, name, in_transformers)
    if beside is not None:
        return Activation(beside[0], f"{beside[1]} beside it says so")
    configured = bool(open_clip.get_model_config(name).get("quick_gelu", False))
    signs = [] if configured else list(_weak_signs(name, path.name.lower(), state))
    if not signs:
        return Activation(configured, f"as {name} configures it; nothing in the file says otherwise")
    return Activation(configured, f"as {name} configures it", f"{' and '.join(signs)}, which could mean quick_gelu")


def _weak_signs(name: str, file: str, state: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """What hints at QuickGELU, in words."""
    against = [word for word in OTHERS if word in file]
    for word in against:
        tags = [tag for tag in list_pretrained_tags_by_model(name) if tag.startswith(word)]
        if any(get_pretrained_cfg(name, tag).get("quick_gelu") for tag in tags):
            yield f"open_clip's {word} weights of {name} have it"
    openai = name in PUBLISHED and not against
    named = [word for word in ("quickgelu", "quick_gelu", "quick-gelu", *["openai"] * openai) if word in file]
    if named:
        yield f"its name says {named[0]}"
    if openai and _fits_half_precision(state):
        yield "its values are of half precision, as OpenAI's are"


def _fits_half_precision(state: Mapping[str, torch.Tensor]) -> bool:
    matrices = [x for key, x in state.items() if key.endswith(("in_proj_weight", "c_fc.weight"))]
    return bool(matrices) and all(torch.equal(x.float(), x.half().float()) for x in matrices[:4])


def _stated_beside(path: Path, name: str, in_transformers: bool) -> tuple[bool, str] | None:
    """Whether a configuration of this architecture in the same folder says QuickGELU, and which file says it."""
    config = _config(path.parent / "open_clip_config.json").get("model_cfg")
    if isinstance(config, dict) and _same_architecture(config, open_clip.get_model_config(name)):
        stated = config.get("quick_gelu", False)
        if isinstance(stated, bool):
            return stated, "open_clip_config.json"
    config = _config(path.parent / "config.json") if in_transformers else {}
    if config.get("model_type") == "clip":
        tower = config.get("vision_config")
        stated = tower.get("hidden_act", "quick_gelu") if isinstance(tower, dict) else "quick_gelu"  # transformers' default
        if stated in ("quick_gelu", "gelu"):
            return stated == "quick_gelu", "config.json"
    return None


def _config(path: Path) -> dict[str, Any]:
    """A JSON object; nothing where there is none that can be read."""
    try:
        config = read_json(path, limit=LONGEST_CONFIG)
    except InputError:
        return {}
    return config if isinstance(config, dict) else {}


def _same_architecture(stated: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether the sizes that a configuration states are this architecture's; a folder may hold files of several."""
    vision, own_vision = stated.get("vision_cfg", {}), own["vision_cfg"]
    sizes = ("layers", "width", "patch_size")
    fits = isinstance(vision, dict) and all(vision[key] == own_vision.get(key, vision[key]) for key in sizes if key in vision)
    return fits and stated.get("embed_dim", own["embed_dim"]) == own["embed_dim"]

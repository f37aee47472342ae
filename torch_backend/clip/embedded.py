"""The embedded model: a small CLIP trained on procedural scenes, so that the pipeline runs offline."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clip.tokenizer import WordTokenizer
from core.errors import InputError

if TYPE_CHECKING:
    from open_clip.model import CLIP

FOLDER = Path(__file__).parents[1] / "embedded"
WEIGHTS = FOLDER / "weights.safetensors"


def build(config: dict[str, Any]) -> "tuple[CLIP, WordTokenizer]":
    """A model with fresh weights, and its tokenizer, from the `clip` and `words` entries of a config."""
    from open_clip.model import CLIP

    tokenizer = WordTokenizer(config["words"], config["clip"]["text_cfg"]["context_length"])
    text = {**config["clip"]["text_cfg"], "vocab_size": tokenizer.vocab_size}
    return CLIP(**{**config["clip"], "text_cfg": text}), tokenizer


def load_embedded(weights: str | Path | None = None) -> "tuple[CLIP, WordTokenizer, dict[str, Any]]":
    """The embedded CLIP in float32 and eval mode, its tokenizer, and its preset.

    The preset holds what a run should use: mean, std (RGB, 0..1), templates, short_side and window (pixels, window 0 is
    the whole picture), gaussian_std (patches), logit_scale, pamr_dilations (pixels), pamr_iterations.
    weights: another safetensors file of the same architecture.

    Raises InputError when the file is missing or holds other weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    model, tokenizer = build(config)
    path = WEIGHTS if weights is None else Path(weights)
    if not path.is_file():
        raise InputError(f"no weights at {path}: train them with python scripts/embedded_model/train.py --out FOLDER")
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError):
        raise InputError(f"{path} does not hold weights of the embedded model") from None
    return model.eval(), tokenizer, config["preset"]

"""The embedded model: a small CLIP trained on procedural scenes, so that the pipeline runs offline."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from core.errors import InputError

if TYPE_CHECKING:
    from open_clip.model import CLIP

FOLDER = Path(__file__).with_name("embedded")
WEIGHTS = FOLDER / "weights.safetensors"
START, END, PAD = "<start>", "<end>", "<pad>"


class WordTokenizer:
    """Phrases to token ids, one word a token: start, words, end, padding.

    The end token has the highest id, so that open_clip's argmax pooling finds it.
    """

    def __init__(self, words: list[str], context_length: int) -> None:
        """Take the known words, in the order of their ids, and how many tokens a text becomes."""
        self.words = list(words)
        self.context_length = context_length
        self._index = {word: i for i, word in enumerate([PAD, START, *words, END])}

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        return len(self._index)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Token ids (n, context_length) int64. Raises InputError for an unknown word or a phrase too long."""
        out = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(out, texts, strict=True):
            ids = self._encode(text)
            row[: len(ids)] = torch.tensor(ids)
        return out

    def _encode(self, text: str) -> list[int]:
        words = text.lower().split()
        unknown = next((word for word in words if word not in self.words), None)
        if unknown is not None:
            known = " ".join(self.words)
            raise InputError(f"the embedded model does not know the word {unknown!r}; it knows: {known}")
        if len(words) + 2 > self.context_length:
            limit = self.context_length - 2
            raise InputError(f"the phrase {text!r} has {len(words)} words; the embedded model takes up to {limit}")
        return [self._index[START], *(self._index[word] for word in words), self._index[END]]


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
        raise InputError(f"no weights at {path}: train them with python scripts/train_scenes.py --out FOLDER")
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError):
        raise InputError(f"{path} does not hold weights of the embedded model") from None
    return model.eval(), tokenizer, config["preset"]

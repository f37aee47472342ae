"""CLIP models by name and tag, by local file, or the embedded one; and the activation their weights were trained with."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from torch import nn

from core.errors import InputError
from core.primitives.arrays import Array
from torch_backend.clip.architecture import check_architecture
from torch_backend.weights.digest import file_sha256
from torch_backend.weights.download import fetch_weights
from torch_backend.weights.read import OPENAI_KEYS, find_activation, read_state

EMBEDDED = "embedded"
TEMPLATES = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)  # the 80 of CLIP's authors


@dataclass
class LoadedClip:
    """A CLIP model with all that comes with its weights.

    preset: settings that suit this model (short_side, gaussian_std, logit_scale, ...), empty for most. mean, std: of the
    pixels in 0..1, RGB. weights_sha256: of the weights' file, None where there was none. tokenizer: texts to token ids (n, L).
    """

    model: nn.Module
    name: str
    pretrained: str | None = None
    weights_sha256: str | None = None
    tokenizer: Callable[[Sequence[str]], Array] | None = None
    templates: Sequence[str] = TEMPLATES
    preset: Mapping[str, Any] = field(default_factory=dict)
    mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN
    std: Sequence[float] = open_clip.OPENAI_DATASET_STD

    def __post_init__(self) -> None:
        """A model in hand that reads CLIP's own vocabulary gets CLIP's own tokenizer."""
        if self.tokenizer is None:
            self.tokenizer = _clip_tokenizer(self.model)

    @property
    def activation(self) -> str:
        """The activation of the towers, "quick_gelu" or "gelu"."""
        return "quick_gelu" if any(type(m).__name__ == "QuickGELU" for m in self.model.modules()) else "gelu"


def load_clip(name: str, pretrained: str | None = None, quick_gelu: bool | None = None) -> LoadedClip:
    """The model `name` with the weights `pretrained` (a tag or a file), on the CPU, in float32.

    Raises InputError when there is no such model or tag, no network, a file that does not hold this model's weights, or a
    quick_gelu for the embedded model, whose activation is known.
    """
    if name == EMBEDDED:
        if quick_gelu is not None:
            raise InputError("the embedded model has its own activation: leave --quick-gelu out, or name another model")
        return _load_embedded(pretrained)
    known = open_clip.list_models()
    if name not in known:
        near = [other for other in known if other.lower().startswith(name.lower()[:5])] or known
        raise InputError(f"unknown model {name!r}: choose embedded or an open_clip name such as {', '.join(near[:8])}")
    tags = list_pretrained_tags_by_model(name)
    if not pretrained:
        offers = f"a file or one of the tags {', '.join(tags)}" if tags else "a file; open_clip has no tag for it"
        raise InputError(f"model {name} needs weights: give --pretrained {offers}")
    tag = get_pretrained_cfg(name, pretrained)
    path = None if tag else _local_file(name, pretrained, tags)
    state = None if tag else read_state(path)
    if quick_gelu is None:
        stated = open_clip.get_model_config(name).get("quick_gelu", False)
        quick_gelu = stated or (tag.get("quick_gelu", False) if tag else _judge_activation(name, path, state))
    model = build_model(name, quick_gelu)
    check_architecture(model)
    tokenizer = _named_tokenizer(name)
    if tag:
        with _quiet():
            path = fetch_weights(name, pretrained, tag)
        state = read_state(path)
    _load_state(model, state, name, path)
    preprocess = getattr(model.visual, "preprocess_cfg", {}) | tag
    return LoadedClip(
        model=model,
        name=name,
        pretrained=pretrained,
        weights_sha256=file_sha256(path),
        tokenizer=tokenizer,
        mean=preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN),
        std=preprocess.get("std", open_clip.OPENAI_DATASET_STD),
    )


def build_model(name: str, quick_gelu: bool) -> nn.Module:
    """An open_clip model with random weights and the given activation.

    Raises InputError for an architecture that open_clip cannot build here.
    """
    with _quiet():
        try:
            return open_clip.create_model(name, load_weights=False, pretrained_text=False, quick_gelu=quick_gelu).eval()
        except (RuntimeError, OSError, ImportError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"open_clip cannot build {name}: {reason}") from None


def _load_embedded(pretrained: str | None) -> LoadedClip:
    from torch_backend.clip.embedded import WEIGHTS, load_embedded

    path = WEIGHTS if pretrained is None else Path(pretrained)
    if pretrained is not None and not path.is_file():
        raise InputError(f"--pretrained {pretrained} is no file, and the embedded model has no tags: name its model by --model")
    model, tokenizer, preset = load_embedded(path)
    settings = dict(preset)
    return LoadedClip(
        model=model,
        name=EMBEDDED,
        pretrained=pretrained,
        weights_sha256=file_sha256(path),
        tokenizer=tokenizer,
        templates=tuple(settings.pop("templates")),
        mean=settings.pop("mean"),
        std=settings.pop("std"),
        preset=settings,
    )


def _local_file(name: str, pretrained: str, tags: list[str]) -> Path:
    if not Path(pretrained).is_file():
        offered = ", ".join(tags) or "none"
        raise InputError(f"--pretrained {pretrained} is neither a file nor a tag of {name}; its tags: {offered}")
    return Path(pretrained)


def _judge_activation(name: str, path: Path, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a local file's weights need QuickGELU; what was found is said, since a wrong guess only lowers quality."""
    activation, reason = find_activation(path, state)
    if f"{name}-quickgelu" in open_clip.list_models():
        print(f"note: {path.name}: {activation} ({reason}); --quick-gelu or --no-quick-gelu overrides", file=sys.stderr)
    return activation == "quick_gelu"


def _load_state(model: nn.Module, state: dict[str, torch.Tensor], name: str, path: Path) -> None:
    state = {key: value for key, value in state.items() if key not in OPENAI_KEYS}
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = open_clip.model.convert_to_custom_text_state_dict(state)
    try:
        if "logit_scale" in state:
            state["logit_scale"] = state["logit_scale"].reshape(model.logit_scale.shape)
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path} does not hold the weights of {name}: {detail}") from None


def _named_tokenizer(name: str) -> Callable[[Sequence[str]], torch.Tensor]:
    """The tokenizer of an open_clip name; some are another package's, or are downloaded."""
    try:
        return open_clip.get_tokenizer(name)
    except (RuntimeError, OSError, ImportError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"the tokenizer of {name} cannot be had: {reason}") from None


def _clip_tokenizer(model: nn.Module) -> Callable[[Sequence[str]], torch.Tensor]:
    tokenizer = open_clip.SimpleTokenizer(context_length=getattr(model, "context_length", 77))

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        if getattr(model, "vocab_size", 0) != tokenizer.vocab_size:
            raise InputError("this model does not read CLIP's vocabulary: load it by name, so that its tokenizer is known")
        return tokenizer(texts)

    return tokenize


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what open_clip logs about models without weights."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)

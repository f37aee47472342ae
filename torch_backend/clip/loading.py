"""CLIP models by name and tag, by local file, or the embedded one; and the activation their weights were trained with."""

import logging
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
from core.notes import note, one_line
from core.primitives.arrays import Array
from torch_backend.clip.architecture import check_architecture
from torch_backend.weights.activation import find_activation
from torch_backend.weights.digest import file_sha256
from torch_backend.weights.download import fetch_weights
from torch_backend.weights.fit import fit
from torch_backend.weights.formats import TRANSFORMERS
from torch_backend.weights.names import entries_of
from torch_backend.weights.read import is_there, read_weights
from torch_backend.weights.words import reason_in

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
        says = f"choose embedded or an open_clip name such as {', '.join(near[:8])}"
        raise InputError(f"unknown model {one_line(repr(name), 80)}: {says}")
    tags = list_pretrained_tags_by_model(name)
    if not pretrained:
        offers = f"a file or one of the tags {', '.join(tags)}" if tags else "a file; open_clip has no tag for it"
        raise InputError(f"model {name} needs weights: give --pretrained {offers}")
    tag = get_pretrained_cfg(name, pretrained)
    load = _load_tag if tag else _load_file
    return load(name, pretrained, quick_gelu)


def _load_tag(name: str, pretrained: str, quick_gelu: bool | None) -> LoadedClip:
    tag = get_pretrained_cfg(name, pretrained)
    if quick_gelu is None:
        quick_gelu = open_clip.get_model_config(name).get("quick_gelu", False) or tag.get("quick_gelu", False)
    model = build_model(name, quick_gelu)
    check_architecture(model)
    tokenizer = _named_tokenizer(name)
    with _quiet():
        path = fetch_weights(name, pretrained, tag)
    state, _ = fit(read_weights(path, _bytes_of(model)), model, name, path)
    return _loaded(model, state, path, name, pretrained, tokenizer, tag)


def _load_file(name: str, pretrained: str, quick_gelu: bool | None) -> LoadedClip:
    path = _local_file(name, pretrained)
    configured = open_clip.get_model_config(name).get("quick_gelu", False)
    shape_of = build_model(name, configured, device="meta")
    check_architecture(shape_of)
    tokenizer = _named_tokenizer(name)
    tree = read_weights(path, _bytes_of(shape_of))
    state, form = fit(tree, shape_of, name, path)
    if quick_gelu is None:
        quick_gelu = configured or _judge_activation(name, path, tree, state, form)
    return _loaded(build_model(name, quick_gelu), state, path, name, pretrained, tokenizer, {})


def _loaded(
    model: nn.Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    name: str,
    pretrained: str,
    tokenizer: Callable[[Sequence[str]], Array],
    tag: Mapping[str, Any],
) -> LoadedClip:
    model.load_state_dict(state)
    _check_finite(model, path)
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


def build_model(name: str, quick_gelu: bool, device: str = "cpu") -> nn.Module:
    """An open_clip model with random weights and the given activation; on the device "meta", its shapes alone.

    Raises InputError for an architecture that open_clip cannot build here.
    """
    with _quiet(), torch.device(device):
        try:
            model = open_clip.create_model(
                name, load_weights=False, pretrained_text=False, quick_gelu=quick_gelu, device=device
            )
        except (RuntimeError, OSError, ImportError, TypeError) as error:
            raise InputError(f"open_clip cannot build {name}: {reason_in(error)}") from None
    return model.eval()


def _bytes_of(model: nn.Module) -> int:
    """What a model takes in float32."""
    return 4 * sum(x.numel() for x in model.state_dict().values())


def _check_finite(model: nn.Module, path: Path) -> None:
    for name, x in model.named_parameters():
        if not torch.isfinite(torch.stack(torch.aminmax(x.detach()))).all():
            raise InputError(f"{one_line(path)} is damaged: its {name} has values that are no finite numbers")


def _load_embedded(pretrained: str | None) -> LoadedClip:
    from torch_backend.clip.embedded import WEIGHTS, load_embedded

    path = WEIGHTS if pretrained is None else Path(pretrained)
    if pretrained is not None and not is_there(path):
        what = f"--pretrained {one_line(pretrained, 200)} is no file, and the embedded model has no tags"
        raise InputError(f"{what}: name its model by --model")
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


def _local_file(name: str, pretrained: str) -> Path:
    path = Path(pretrained)
    if not is_there(path):
        offered = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise InputError(f"--pretrained {one_line(pretrained, 200)} is neither a file nor a tag of {name}; its tags: {offered}")
    return path


def _judge_activation(name: str, path: Path, tree: Any, state: Mapping[str, torch.Tensor], form: str) -> bool:
    """Whether a local file's weights need QuickGELU; what was found is said, since a wrong guess only lowers quality."""
    found = find_activation(name, path, [entry.name for entry in entries_of(tree)], state, form == TRANSFORMERS)
    if found.quick_gelu or found.doubt or f"{name}-quickgelu" in open_clip.list_models():
        note(f"{one_line(path.name)}: {found.says}")
    return found.quick_gelu


def _named_tokenizer(name: str) -> Callable[[Sequence[str]], torch.Tensor]:
    """The tokenizer of an open_clip name; some are another package's, or are downloaded."""
    try:
        return open_clip.get_tokenizer(name)
    except (RuntimeError, OSError, ImportError, ValueError) as error:
        raise InputError(f"the tokenizer of {name} cannot be had: {reason_in(error)}") from None


def _clip_tokenizer(model: nn.Module) -> Callable[[Sequence[str]], torch.Tensor]:
    tokenizer = open_clip.SimpleTokenizer(context_length=getattr(model, "context_length", 77))

    def tokenize(texts: Sequence[str], context_length: int | None = None) -> torch.Tensor:
        if getattr(model, "vocab_size", 0) != tokenizer.vocab_size:
            raise InputError("this model does not read CLIP's vocabulary: load it by name, so that its tokenizer is known")
        return tokenizer(texts, context_length)

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

"""Other frozen vision models, through timm: pictures in, a field of features out, for proxyclip and fsa.

The features are the last block's patch tokens after the model's final norm (of SAM: its neck's output), without class and
register tokens: what Lan et al., "ProxyCLIP", ECCV 2024, compare. They see the picture as CLIP sees it, in their own mean and
std; SAM alone at its own resolution. A position table is resized to the picture's grid as timm does it, bicubically.
"""

from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import timm
import torch
from huggingface_hub import hf_hub_download
from timm.data import resolve_model_data_config
from timm.models import PretrainedCfg, VisionTransformerSAM, get_pretrained_cfg, is_model_in_modules
from torch import nn

from core.clip.view import normalise
from core.errors import InputError
from core.notes import one_line
from torch_backend.primitives.ops import asarray
from torch_backend.primitives.resize import resize_bilinear
from torch_backend.undisturbed import undisturbed
from torch_backend.weights.describe import looks_like
from torch_backend.weights.digest import file_sha256
from torch_backend.weights.download import from_hub
from torch_backend.weights.fit import entries_in, odd_kind, say_if_several
from torch_backend.weights.names import find, others_beside
from torch_backend.weights.read import is_there, read_weights
from torch_backend.weights.vision_formats import from_transformers, in_timm
from torch_backend.weights.words import clipped, reason_in

SHORT_NAMES = {
    "sam": "samvit_base_patch16.sa1b",
    "dino": "vit_base_patch8_224.dino",  # ProxyCLIP's choice
    "dino16": "vit_base_patch16_224.dino",
    "dinov2": "vit_base_patch14_dinov2.lvd142m",
    "dinov2reg": "vit_base_patch14_reg4_dinov2.lvd142m",  # the DINOv2 of ProxyCLIP's authors
    "mae": "vit_base_patch16_224.mae",
    "dinov3": "vit_base_patch16_dinov3.lvd1689m",
}
SAM_FAMILY = "vision_transformer_sam"
FAMILIES = ("vision_transformer", SAM_FAMILY, "deit", "eva")  # the modules of timm whose every model takes any grid
HUB_FILE = "model.safetensors"
PATCHES = "patch_embed.proj.weight"
AUTHORS = ("visual.class_embedding", "visual.conv1.weight", "visual.proj", "mask_token")  # in files that timm renames
SAM_PREFIX = ("image_encoder",)
UNFIT = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError, MemoryError)
"""What timm raises of weights that are another model's."""

Shape = tuple[int, ...]
PLACES_AT_ONCE = 4096  # of one picture in SAM, whose bias of positions alone takes 0.8 GB then


@dataclass(frozen=True)
class ExternalModel:
    """A frozen vision transformer of timm, of one of `FAMILIES`.

    model: in evaluation mode; it computes where its weights lie. name: timm's, with the tag. weights_sha256: of the file.
    """

    model: nn.Module
    name: str
    weights_sha256: str | None = None

    @undisturbed()
    def features(self, images: np.ndarray) -> torch.Tensor:
        """(B, h, w, 3) uint8 RGB, pictures or windows as CLIP sees them -> (B, c, h', w') float32, one place a patch.

        Sides that are no whole number of patches are resized to the nearest (bilinear, without antialiasing), not cropped.
        Raises InputError for images of another shape.
        """
        if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
            raise InputError(f"images must be (B, h, w, 3), not {images.shape}")
        config = resolve_model_data_config(self.model)
        pixels = asarray(normalise(images, config["mean"], config["std"])).to(next(self.model.parameters()).device)
        size = input_size(self.model, *images.shape[1:3])
        if size != images.shape[1:3]:
            pixels = resize_bilinear(pixels, size)
        n_places = prod(size) // prod(self.model.patch_embed.patch_size)
        parts = pixels.split(max(PLACES_AT_ONCE // n_places, 1))
        return torch.cat([_last_layer(self.model, part) for part in parts])


@undisturbed()
def load_external(spec: str, device: torch.device | str = "cpu") -> ExternalModel:
    """The vision model NAME with the hub's weights, or NAME:FILE with those of a local file.

    NAME: of `SHORT_NAMES`, or timm's own of a ViT; the tag, where it has one, decides the mean and std of a FILE too. FILE:
    safetensors or a .pt state dict (weights_only), with timm's entries or those of the model's authors.

    Raises InputError for an unknown name, weights that cannot be had, or a file that does not hold this model's.
    """
    name, colon, file = spec.partition(":")
    if name == "self":
        raise InputError(f"--external {spec}: self is the CLIP in hand (core.clip.features.self_features) and takes no file")
    if colon and not file:
        raise InputError(f"--external {spec} names no file after the colon: give {name}:FILE, or {name} to download it")
    full, config = _find_model(name)
    path = Path(file) if colon else _download(name, full, config)
    if not is_there(path):
        raise InputError(f"--external {one_line(spec, 200)}: there is no file {one_line(path, 200)}")
    model = build_model(full, _read(path, full), path)
    return ExternalModel(model.eval().requires_grad_(False).to(device), full, file_sha256(path))


def input_size(model: nn.Module, height: int, width: int) -> tuple[int, int]:
    """The size at which a model is given a picture: its own to the nearest whole patches, at least one.

    SAM's attention windows and positions are made for one resolution: there the long side becomes the trained 1024 pixels.
    """
    trained = max(model.patch_embed.img_size) if isinstance(model, VisionTransformerSAM) else None
    scale = trained / max(height, width) if trained else 1.0
    patch_rows, patch_columns = model.patch_embed.patch_size
    return max(round(height * scale / patch_rows), 1) * patch_rows, max(round(width * scale / patch_columns), 1) * patch_columns


def _last_layer(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return model.forward_intermediates(pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)[0]


def build_model(name: str, state: Mapping[str, torch.Tensor] | None = None, path: Path | None = None) -> nn.Module:
    """A model of timm without its classifier, for pictures of any size, with the weights `state` of the file `path`.

    The entries of the authors' own files are renamed by timm; then every weight must be there and none left over.
    Raises InputError where that is not so. Without `state` the weights are random.
    """
    options = {} if is_model_in_modules(name, (SAM_FAMILY,)) else {"dynamic_img_size": True}
    if state is None:
        return timm.create_model(name, num_classes=0, **options)
    overlay = {"state_dict": dict(state), "classifier": None}  # with a classifier, timm would let other weights be missing
    try:
        with redirect_stdout(None):  # timm prints while it renames DINOv3's own
            model = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **options)
    except UNFIT as error:
        reason = f"{clipped(error)}{looks_like(state)}"
        raise InputError(f"{one_line(path)} does not hold the weights of {name}: {reason}") from None
    del model.pretrained_cfg["state_dict"]  # a second copy of the weights
    return model


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    """The weights that a file holds for a model of timm, under timm's names or those of the model's authors.

    They are found by the names that both share, under whatever wrappers and prefixes, and checked before anything is
    computed of them. Raises InputError for what cannot be this model's.
    """
    with torch.device("meta"):
        own = {key: tuple(x.shape) for key, x in build_model(name).state_dict().items()}
    tree = read_weights(path, 4 * sum(prod(shape) for shape in own.values()))
    entries = entries_in(tree, path)
    found = find(entries, [*own, *AUTHORS, *in_timm(own)])
    if not found:
        what = looks_like({entry.full: entry.tensor for entry in entries}, some_found=False)
        raise InputError(f"{one_line(path)} does not hold the weights of {name}: none of its names is there{what}")
    best = found[0]
    if 2 * len(best.entries) > len(own):
        say_if_several(found)
    state = {key: entry.tensor for key, entry in (best.entries | others_beside(best, entries)).items()}
    _check_tensors(state, own, name, path)
    state = from_transformers(state)
    _check_patch(state, own, name, path)
    heads = get_pretrained_cfg(name).classifier or "head"
    heads = (heads,) if isinstance(heads, str) else heads
    state = {key: x for key, x in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    if best.prefix[-1:] == SAM_PREFIX:  # by which timm knows the authors' file
        state = {f"{SAM_PREFIX[0]}.{key}": x for key, x in state.items()}
    return state


def _check_tensors(state: Mapping[str, torch.Tensor], own: Mapping[str, Shape], name: str, path: Path) -> None:
    """Raises InputError for what is no dense tensor, or is larger than what the file holds of it."""
    for key, x in state.items():
        fault = odd_kind(x)
        if not fault and tuple(x.shape) != own.get(key) and x.numel() * x.element_size() > x.untyped_storage().nbytes():
            fault = f"one value repeated up to {' x '.join(map(str, x.shape))}"
        if fault:
            raise InputError(f"{one_line(path)} does not hold the weights of {name}: {one_line(key, 80)} is {fault}")


def _check_patch(state: Mapping[str, torch.Tensor], own: Mapping[str, Shape], name: str, path: Path) -> None:
    """Raises InputError for the weights of another patch size, which timm would resize without a word."""
    for key, x in state.items():
        if key.endswith(PATCHES) and x.ndim == 4 and tuple(x.shape[2:]) != own[PATCHES][2:]:
            sides = f"{x.shape[2]} pixels, not {own[PATCHES][2]}"
            raise InputError(f"{one_line(path)} does not hold the weights of {name}: its patches have sides of {sides}")


def _find_model(name: str) -> tuple[str, PretrainedCfg]:
    """The name that timm has for NAME, with its tag, and what timm says of the weights."""
    full = SHORT_NAMES.get(name, name)
    if not is_model_in_modules(full, FAMILIES):
        known = f"self, {', '.join(SHORT_NAMES)}, or a ViT of timm such as vit_small_patch16_dinov3"
        raise InputError(f"unknown vision model {one_line(repr(name), 80)}: choose {known}")
    try:
        config = get_pretrained_cfg(full, allow_unregistered=False)
    except RuntimeError as error:
        raise InputError(f"unknown vision model {one_line(repr(name), 80)}: timm says {reason_in(error)}") from None
    return f"{config.architecture}.{config.tag}" if config.tag else config.architecture, config


def _download(name: str, full: str, config: PretrainedCfg) -> Path:
    if not config.hf_hub_id:
        raise InputError(f"timm has no weights of {full} on the hub: give {name}:FILE")
    repository, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or HUB_FILE
    advice = f"give a local file as {name}:FILE"
    return from_hub(full, lambda: Path(hf_hub_download(repository, file, revision=revision or None)), advice)

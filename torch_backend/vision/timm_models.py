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
from torch_backend.primitives.ops import asarray
from torch_backend.primitives.resize import resize_bilinear
from torch_backend.weights.digest import file_sha256
from torch_backend.weights.download import from_hub
from torch_backend.weights.read import read_state

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
PLACES_AT_ONCE = 4096  # of one picture in SAM, whose bias of positions alone takes 0.8 GB then


@dataclass(frozen=True)
class ExternalModel:
    """A frozen vision transformer of timm, of one of `FAMILIES`.

    model: in evaluation mode; it computes where its weights lie. name: timm's, with the tag. weights_sha256: of the file.
    """

    model: nn.Module
    name: str
    weights_sha256: str | None = None

    @torch.no_grad()
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
    if not path.is_file():
        raise InputError(f"--external {spec}: there is no file {path}")
    model = build_model(full, read_state(path), path)
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
    classifier = get_pretrained_cfg(name).classifier or "head"
    heads = (classifier,) if isinstance(classifier, str) else classifier
    weights = {key: x for key, x in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    overlay = {"state_dict": weights, "classifier": None}  # with a classifier to drop, timm would let other weights be missing
    try:
        with redirect_stdout(None):  # timm prints while it renames DINOv3's own
            model = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path} does not hold the weights of {name}: {detail}") from None
    del model.pretrained_cfg["state_dict"]  # a second copy of the weights
    _check_patch(model, state, name, path)
    return model


def _check_patch(model: nn.Module, state: Mapping[str, torch.Tensor], name: str, path: Path | None) -> None:
    """Raises InputError for the weights of another patch size, which timm would resize without a word."""
    built = tuple(model.patch_embed.patch_size)
    for key, x in state.items():
        if key.endswith("patch_embed.proj.weight") and x.ndim == 4 and tuple(x.shape[2:]) != built:
            sides = f"{x.shape[2]} pixels, not {built[0]}"
            raise InputError(f"{path} does not hold the weights of {name}: its patches have sides of {sides}")


def _find_model(name: str) -> tuple[str, PretrainedCfg]:
    """The name that timm has for NAME, with its tag, and what timm says of the weights."""
    full = SHORT_NAMES.get(name, name)
    if not is_model_in_modules(full, FAMILIES):
        known = f"self, {', '.join(SHORT_NAMES)}, or a ViT of timm such as vit_small_patch16_dinov3"
        raise InputError(f"unknown vision model {name!r}: choose {known}")
    try:
        config = get_pretrained_cfg(full, allow_unregistered=False)
    except RuntimeError as error:
        raise InputError(f"unknown vision model {name!r}: timm says {error}") from None
    return f"{config.architecture}.{config.tag}" if config.tag else config.architecture, config


def _download(name: str, full: str, config: PretrainedCfg) -> Path:
    if not config.hf_hub_id:
        raise InputError(f"timm has no weights of {full} on the hub: give {name}:FILE")
    repository, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or HUB_FILE
    advice = f"give a local file as {name}:FILE"
    return from_hub(full, lambda: Path(hf_hub_download(repository, file, revision=revision or None)), advice)

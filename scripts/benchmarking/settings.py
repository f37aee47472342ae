"""What the rows are measured with: sizes, backends, device, number of calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from core.backends import load_backend
from core.clip.view import model_size

if TYPE_CHECKING:
    from torch_backend import ClipBackbone

MODEL = "ViT-B-16-quickgelu"
SHORT_SIDE, PATCH = 336, 16  # how ViT-B/16 is shown a picture


@dataclass(frozen=True)
class Settings:
    """picture, grid: (rows, columns) in pixels and in an external model's places. device: where PyTorch and Jittor compute."""

    picture: tuple[int, int] = (375, 500)
    classes: int = 21
    tokens: int = 2048
    width: int = 768
    grid: tuple[int, int] = (42, 42)
    repeat: int = 7
    device: str = "cpu"
    backends: Sequence[str] = ("torch", "jittor", "numpy")
    model: str = MODEL

    def ops(self, only: Sequence[str] = ("torch", "jittor", "numpy")) -> list[Any]:
        """The backends that are measured, as far as they are among `only`."""
        return [load_backend(name) for name in self.backends if name in only]

    @property
    def clip_grid(self) -> tuple[int, int]:
        """The patches in which ViT-B/16 sees the picture, its short side being 336 pixels: 21 x 28 of 375 x 500."""
        height, width = model_size(*self.picture, SHORT_SIDE, PATCH)
        return height // PATCH, width // PATCH


FAST = ("torch", "jittor")  # the backends with targets of their own; NumPy is the readable oracle


def by(size: Sequence[int]) -> str:
    """375 x 500."""
    return " x ".join(map(str, size))


@cache
def random_backbone(model: str, device: str, precision: str = "fp32") -> "ClipBackbone":
    """An open_clip tower with random weights, or the embedded model; phrases go into one template, not into 80."""
    import torch

    from torch_backend import ClipBackbone
    from torch_backend.clip.loading import build_model

    torch.manual_seed(0)
    if model == "embedded":
        return ClipBackbone(device=device, precision=precision)
    built = build_model(model, quick_gelu="quickgelu" in model)
    return ClipBackbone(built, device=device, precision=precision, templates=("a photo of a {}.",))

"""PyTorch: the primitives of `core` mirrored, and the CLIP backbone that feeds every head."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_backend.clip.tower import ClipBackbone

__all__ = ["ClipBackbone"]


def __getattr__(name: str) -> Any:
    """`ClipBackbone`, imported when first asked for: the primitives alone need no open_clip."""
    if name == "ClipBackbone":
        from torch_backend.clip.tower import ClipBackbone

        return ClipBackbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

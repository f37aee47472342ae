"""PyTorch: the primitives of `core` mirrored, and what only PyTorch gives, the CLIP that feeds every head among it.

- `primitives`: the files of `core/primitives` mirrored.
- `clip`: open_clip's CLIPs, and the embedded one whose weights lie in `embedded/`.
- `vision`: other vision models, for proxyclip and fsa.
- `weights`: files of weights read, fetched, and told apart.
- `device`: where PyTorch computes.
- `undisturbed`: what the caller has left on, autocast and the like, set aside.
"""

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

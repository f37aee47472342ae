"""Small CLIP towers and feature records with seeded weights."""

import numpy as np

from core.clip.features import ClipFeatures, HeadWeights, weight_shapes


def seeded_clip(seed, image_size=224, layers=12, quick_gelu=True, **vision):
    """open_clip's CLIP with golden_inputs' weights: width 128, 2 heads of 64, patch 16, output 64."""
    import torch
    from golden.golden_inputs import seeded_state
    from open_clip.model import CLIP

    vision_cfg = {"image_size": image_size, "layers": layers, "width": 128, "head_width": 64, "patch_size": 16} | vision
    text_cfg = {"context_length": 16, "vocab_size": 128, "width": 64, "heads": 2, "layers": 1}
    model = CLIP(64, vision_cfg=vision_cfg, text_cfg=text_cfg, quick_gelu=quick_gelu).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.visual.state_dict().items()}
    state = {name: torch.from_numpy(x) for name, x in seeded_state(shapes, seed).items()}
    model.visual.load_state_dict(state)
    return model


def random_features(rng, batch=2, grid=(3, 5), width=16, n_heads=2, embed=8, layers=12, dtype="float32", activation="gelu"):
    """A `ClipFeatures` of random numbers, in NumPy, with the last but one block's attention."""
    shapes = weight_shapes(width, embed)
    weights = {name: (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(dtype) for name, shape in shapes.items()}
    n = 1 + grid[0] * grid[1]
    hidden = [rng.standard_normal((batch, n, width)).astype(dtype) for _ in range(layers - 1)]
    attention = np.exp(rng.standard_normal((batch, n_heads, n, n)))
    attention = (attention / attention.sum(-1, keepdims=True)).astype(dtype)
    return ClipFeatures(hidden, HeadWeights(weights, n_heads, activation), grid, attention)


def random_inputs(rng, batch=2, embed=8, dtype="float32", places=(4, 3)):
    """Text embeddings (5, E) and external features (B, 6, h', w'), as keyword arguments."""
    return {
        "text": rng.standard_normal((5, embed)).astype(dtype),
        "external": rng.standard_normal((batch, 6, *places)).astype(dtype),
    }

"""Small CLIP towers with seeded weights, and the feature records of the catalogue under the tests' own names."""

from core.parity.cases.inputs import seeded_features as random_features
from core.parity.cases.inputs import seeded_inputs as random_inputs

__all__ = ["random_features", "random_inputs", "seeded_clip"]


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

"""Training-free open-vocabulary segmentation: the NumPy reference, the methods, and `Segmenter`.

Importing this package imports NumPy and nothing heavier; frameworks load when a backend or a CLIP is asked for.
"""

from core.backends import load_backend
from core.clip.features import ClipFeatures
from core.errors import InputError
from core.methods.registry import METHODS, method_options, patch_embeddings
from core.results.segmentation import Segmentation
from core.segment.segmenter import Segmenter

__all__ = [
    "METHODS",
    "ClipFeatures",
    "InputError",
    "Segmentation",
    "Segmenter",
    "load_backend",
    "method_options",
    "patch_embeddings",
]

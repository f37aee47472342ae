"""Training-free open-vocabulary segmentation: the NumPy reference, the methods, and `Segmenter`.

Importing this package imports NumPy and nothing heavier; frameworks load when a backend or a backbone is asked for.
"""

from core.backends import load_backend
from core.errors import InputError
from core.features import ClipFeatures
from core.methods import METHODS, method_options, patch_embeddings
from core.results import Segmentation
from core.segmenter import Segmenter

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

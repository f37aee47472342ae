"""A CLIP without a network: it sees the colour of each patch and knows the names of eight colours, all in NumPy."""

import numpy as np

from core import ClipFeatures, InputError
from core.clip.features import HeadWeights, weight_shapes

COLOURS = {
    "black": (0, 0, 0), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1),
    "yellow": (1, 1, 0), "purple": (1, 0, 1), "cyan": (0, 1, 1), "white": (1, 1, 1),
}  # fmt: skip
WIDTH, EMBED = 6, 3


class FakeClip:
    """What `core.clip.model.CONTRACT` names, and nothing else.

    A token is a colour x and -x, so that layer norms only scale it; every block hands it on. Queries, keys and values are the
    token itself, and the projection keeps x: of the values alone, as maskclip takes them, each patch's embedding is its colour.
    """

    patch_size, image_size, n_layers = 4, 16, 12
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    templates = ("{}", "a {}")
    name, pretrained, weights_sha256 = "fake", None, "0" * 64
    activation, device, precision, dtype = "gelu", "cpu", "fp32", "float32"

    def __init__(self):
        arrays = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(WIDTH, EMBED).items()}
        for name in ("ln_1.weight", "ln_2.weight", "ln_post.weight"):
            arrays[name] += 1
        arrays["attn.in_proj_weight"] += np.tile(np.eye(WIDTH, dtype=np.float32), (3, 1))
        arrays["attn.out_proj.weight"] += np.eye(WIDTH, dtype=np.float32)
        arrays["proj"] += np.eye(WIDTH, EMBED, dtype=np.float32)
        self.weights = HeadWeights(arrays, n_heads=2, activation="gelu")
        self.preset = {"logit_scale": 10.0, "gaussian_std": 2.0}
        self.n_encoded = 0

    def features(self, pixels, attention=False):
        tokens, grid = self._tokens(pixels)
        batch, n = tokens.shape[:2]
        weighed = np.full((batch, 2, n, n), 1 / n, np.float32) if attention else None
        return ClipFeatures([tokens] * (self.n_layers - 1), self.weights, grid, weighed)

    def text_embeddings(self, phrases):
        unknown = [phrase for phrase in phrases if phrase not in COLOURS]
        if unknown:
            raise InputError(f"this model does not know {unknown[0]!r}")
        self.n_encoded += len(phrases)
        return (2 * np.array([COLOURS[phrase] for phrase in phrases], np.float32) - 1) / np.float32(np.sqrt(3))

    def image_embeddings(self, pixels):
        return self._tokens(pixels)[0][:, 0, :EMBED]

    def _tokens(self, pixels):
        """(B, 1 + N, D), the mean of all patches first, and the grid."""
        batch, _, height, width = pixels.shape
        rows, columns = height // self.patch_size, width // self.patch_size
        patches = pixels.reshape(batch, 3, rows, self.patch_size, columns, self.patch_size).mean(axis=(3, 5))
        colours = patches.reshape(batch, 3, -1).transpose(0, 2, 1)
        colours = np.concatenate([colours.mean(axis=1, keepdims=True), colours], axis=1)
        return np.concatenate([colours, -colours], axis=2), (rows, columns)


def stripes(names, height=32, width=16):
    """A picture (H, n W, 3) uint8 of one upright stripe a colour, and its truth (H, n W)."""
    colours = np.array([COLOURS[name] for name in names], np.uint8) * 255
    truth = np.repeat(np.arange(len(names)), width)[None].repeat(height, axis=0)
    return colours[truth], truth

"""FSA's links in Jittor; the contract is `core.links`."""

from core.arrays import Array
from jt_backend import jt, kernels
from jt_backend.ops import asarray


def link_weights(divergence: Array, sharpness: float, mass: float | None = None) -> jt.Var:
    divergence = asarray(divergence)
    return kernels.link_weights(divergence.reshape([-1, divergence.shape[-1]]), sharpness, mass).reshape(divergence.shape)

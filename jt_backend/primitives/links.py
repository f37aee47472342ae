"""FSA's links in Jittor; the contract is `core.primitives.links`."""

from core.primitives.arrays import Array
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray

__all__ = ["link_weights"]


def link_weights(divergence: Array, sharpness: float, mass: float | None = None) -> jt.Var:
    divergence = asarray(divergence)
    return kernels.link_weights(divergence.reshape([-1, divergence.shape[-1]]), sharpness, mass).reshape(divergence.shape)

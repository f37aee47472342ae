"""Gaussian neighbourhoods in Jittor: computed once by `core.neighbourhood`, then converted."""

from functools import lru_cache

from core import neighbourhood
from core.arrays import Array
from jt_backend import jt
from jt_backend.ops import asarray


def gaussian_window(h: int, w: int, std: float, dtype: str = "float32") -> jt.Var:
    return asarray(neighbourhood.gaussian_window(h, w, std, dtype))


def neighbourhood_addition(
    h: int, w: int, std: float, class_token: bool = True, dtype: str = "float32", like: Array | None = None
) -> jt.Var:
    compute = _addition if h * w <= neighbourhood.CACHED_PATCHES else _addition.__wrapped__
    return compute(h, w, std, class_token, dtype if like is None else str(like.dtype))


@lru_cache(maxsize=2)
def _addition(h: int, w: int, std: float, class_token: bool, dtype: str) -> jt.Var:
    return asarray(neighbourhood.neighbourhood_addition(h, w, std, class_token, dtype))

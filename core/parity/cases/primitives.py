"""What every primitive is run on, by parity, its tests and whoever wants arguments of it: `PRIMITIVES`, an entry each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from core.parity.cases.inputs import generator, normal, uniform

Draw = Callable[..., np.ndarray]  # sides -> array
Shapes = tuple[tuple[int, int, int], ...]

COMPUTE_NOTHING = ("select_device", "undisturbed")
"""Functions of a backend's namespace that no array comes out of."""

VERB_SHAPES = ((2, 3, 5), (1, 7, 4))
FIELD_SHAPES = ((2, 5, 7), (1, 9, 4))  # batch, rows, columns


@dataclass(frozen=True)
class Arguments:
    """What a primitive is run on, made by a draw of numbers: `make(draw, *shape)` for each of the shapes, and `more(draw)`.

    more: beyond what a kernel or a chunk treats at once (more rows, classes, places than a block), and what is special to
    the primitive. in_unit: the numbers lie in 0..1, as a picture's values do, and not around 0.
    """

    shapes: Shapes
    make: Callable[[Draw, int, int, int], list[tuple]]
    more: Callable[[Draw], list[tuple]] = lambda draw: []
    in_unit: bool = False


on_arrays = partial(Arguments, VERB_SHAPES)
on_fields = partial(Arguments, FIELD_SHAPES)


def primitive_trials(name: str, dtype: str) -> dict[str, tuple]:
    """The arguments of a primitive in a dtype, by what they look like: "2: 2x3x5, -1, True"."""
    rng, arguments = generator(name), PRIMITIVES[name]
    numbers = uniform if arguments.in_unit else normal

    def draw(*sides: int) -> np.ndarray:
        return numbers(rng, sides, dtype)

    trials = [trial for shape in arguments.shapes for trial in arguments.make(draw, *shape)] + arguments.more(draw)
    return {f"{i}: {describe(trial)}": trial for i, trial in enumerate(trials, 1)}


def describe(arguments: Any) -> str:
    """Arrays by their shape, the rest as it is written: "2x3x5, -1, True"."""
    if isinstance(arguments, np.ndarray):
        return "x".join(map(str, arguments.shape))
    if isinstance(arguments, list):
        return f"[{describe(tuple(arguments))}]"
    if isinstance(arguments, tuple) and any(isinstance(part, np.ndarray | list) for part in arguments):
        return ", ".join(map(describe, arguments))
    return repr(arguments)


def run_primitive(ops: Any, name: str, *arguments: Any) -> dict[str, np.ndarray]:
    """What a primitive makes of NumPy arguments given as native arrays: "result", or of several "result 1", "result 2"..."""
    if name != "asarray":
        arguments = [native(ops, argument) for argument in arguments]
    with ops.undisturbed():
        result = getattr(ops, name)(*arguments)
    if isinstance(result, tuple | list):
        return {f"result {i}": ops.to_numpy(part) for i, part in enumerate(result, 1)}
    return {"result": ops.to_numpy(result)}


def native(ops: Any, argument: Any) -> Any:
    """NumPy arrays, also in lists, as a backend's own; anything else as it is."""
    if isinstance(argument, list):
        return [native(ops, part) for part in argument]
    return ops.asarray(argument) if isinstance(argument, np.ndarray) else argument


def _flipped(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def _one(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    return [(draw(b, m, n),)]


def _positive(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    return [(np.abs(draw(b, m, n)) + np.asarray(0.5, draw(1).dtype),)]


def _two_or_number(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    return [(draw(b, m, n), draw(b, m, n)), (draw(b, m, n), 0.25), (draw(b, m, n), 0)]


def _joined(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    return [([draw(b, m, n), draw(b, m, n)], axis) for axis in (0, 1, -1)]


def _reduced(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    return [(draw(b, m, n), 1), (draw(b, m, n), -1, True), (draw(b, m, n), (0, 2))]


def _matmul(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    x, y, matrix = draw(b, m, n), draw(b, m, n), draw(6, n)
    return [(x, _flipped(y)), (x, matrix.T), (x[0], matrix.T), (matrix, _flipped(x)), (x[:, None], _flipped(y)[None])]


def _inner_products(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    x, y = draw(b, m, n), draw(b, 6, n)
    return [(x, y), (x[0], y[0]), (y[:1], x), (x[:, None], y[None])]


def _softmax_at_least(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    x = draw(b, m, n)
    return [(x, least(x, -1, keepdims=True), scale) for least, scale in ((np.median, 3.0), (np.min, 1.0), (np.max, 1.2))]


def _where(draw: Draw, b: int, m: int, n: int) -> list[tuple]:
    x, y = draw(b, m, n), draw(b, m, n)
    return [(x > 0, x, y), (x > 0, x, -np.inf), (x > 0, x, 0.0)]


def _gaussian(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    dtype = str(draw(1).dtype)
    return [(h, w, 2.0, dtype), (1, w, 0.5, dtype)]


def _addition(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    dtype = str(draw(1).dtype)
    return [(h, w, 2.0, True, dtype), (h, w, 5.0, False, dtype), (h, w, 2.0, True, "float32", draw(1))]


def _attention(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    q, k, v = draw(b, h * w, 8), draw(b, h * w, 8), draw(b, h * w, 8)
    return [(q, k, v, 2, 0.5), (q, k, v, 2, 0.5, draw(h * w, h * w)), (q, k[:, :4], v[:, :4], 4, 0.5), (q, q, v, 1, 1.0)]


def _attention_weights(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    q, k = draw(b, 2, h * w, 4), draw(b, 2, h * w, 4)
    return [(q, k, 0.5), (q, k, 0.5, draw(h * w, h * w)), (q, k[:, :, :4], 0.5)]


def _bilinear(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    x = draw(b, 3, h, w)
    return [(x, (9, 4)), (x, (11, 6), True), (x, (1, 1)), (x, (h, w)), (x[..., :1, :1], (3, 3), True)]


def _bicubic(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    x = draw(b, 3, h, w)
    return [(x, (9, 4)), (x, (8, 11), ((8 + 0.1) / h, (11 + 0.1) / w)), (x[0, 0], (3, 3))]


def _pamr(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    image, mask = draw(b, 3, 2 * h - 1, 2 * w - 1), draw(b, 4, h, w)
    return [(image, mask, 3, (1, 2)), (image, mask), (image, mask, 0, (1,)), (image[..., :1, :1], mask, 1, (1,))]


def _affinity(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    return [(draw(b, 3, h, w), (1, 3)), (draw(b, 3, h, w),)]


def _outlier_factor(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    x = draw(b, h * w, 6)
    return [(x, 4), (x, 30), (x[0], 4, "breunig")]


def _interpolation(draw: Draw, b: int, h: int, w: int) -> list[tuple]:
    fmap, scores = draw(b, 3, h, w), draw(b, h, w)
    return [(fmap, scores > 1), (fmap, scores > -1), (fmap, scores > 3)]


def _more_links(draw: Draw) -> list[tuple]:
    """Many; equal ones; one only; all equal; half of them nearly equal and the others far weaker."""
    wide, equal = abs(draw(30, 700)), np.rint(abs(draw(30, 700)))
    single, same = abs(draw(5, 1)), 0 * draw(2, 5, 7)
    steep = np.square(np.square(np.square(0.01 + abs(draw(9, 300)))))  # products round alike everywhere, a power does not
    return [(wide, 3.0, 0.45), (equal, 3.0, 0.45), (single, 2.3, 0.5), (same, 3.0, 0.3), (steep, 1.0, 0.9)]


PRIMITIVES: dict[str, Arguments] = {
    "asarray": on_arrays(lambda draw, b, m, n: [(draw(b, m, n),), (draw(b, m, n)[:, ::-1],)]),
    "to_numpy": on_arrays(_one),
    "concatenate": on_arrays(_joined),
    "stack": on_arrays(_joined),
    "reshape": on_arrays(lambda draw, b, m, n: [(draw(b, m, n), (b * m, n)), (draw(b, m, n), (b, -1))]),
    "transpose": on_arrays(lambda draw, b, m, n: [(draw(b, m, n), (2, 0, 1)), (draw(b, m, n), (0, 2, 1))]),
    "swap_last": on_arrays(_one),
    "matmul": on_arrays(_matmul, lambda draw: [(draw(3, 300, 70), draw(3, 70, 260))]),
    "inner_products": on_arrays(
        _inner_products, lambda draw: [(draw(300, 70), draw(260, 70)), (draw(3, 300, 70), draw(3, 260, 70))]
    ),
    "exp": on_arrays(_one),
    "log": on_arrays(_positive),
    "sqrt": on_arrays(_positive),
    "absolute": on_arrays(_one),
    "maximum": on_arrays(_two_or_number),
    "minimum": on_arrays(_two_or_number),
    "where": on_arrays(_where),
    "sum": on_arrays(_reduced, lambda draw: [(draw(3, 700), -1), (draw(3, 700), 0)]),
    "mean": on_arrays(_reduced),
    "max": on_arrays(lambda draw, b, m, n: [(draw(b, m, n), 1), (draw(b, m, n), -1, True)]),
    "argmax": on_arrays(
        lambda draw, b, m, n: [(draw(b, m, n), 1), (draw(b, m, n), -1)],
        lambda draw: [(np.rint(draw(21, 700)), 0), (np.rint(draw(30, 700)), -1)],  # among equals the first
    ),
    "softmax": on_arrays(
        lambda draw, b, m, n: [(draw(b, m, n),), (draw(b, m, n), 1), (1000 * draw(b, m, n), 1)],
        lambda draw: [(draw(30, 700),), (draw(4, 700), 0)],
    ),
    "norm": on_arrays(lambda draw, b, m, n: [(draw(b, m, n),), (draw(b, m, n), 1, True)]),
    "l2_normalise": on_arrays(lambda draw, b, m, n: [(draw(b, m, n),), (draw(b, m, n), 1), (0 * draw(b, m, n),)]),
    "quantile": on_arrays(lambda draw, b, m, n: [(draw(b, m, n), q) for q in (0.95, 0.0, 1.0)] + [(draw(b, m, 1), 0.5)]),
    "softmax_at_least": on_arrays(_softmax_at_least, lambda draw: [(x := draw(30, 700), np.median(x, -1, keepdims=True))]),
    "k_smallest": on_arrays(
        lambda draw, b, m, n: [(draw(b, m, n), 1), (draw(b, m, n), n - 1), (draw(m, n), n)],
        lambda draw: [(draw(30, 700), 40)],
    ),
    "linear": on_arrays(
        lambda draw, b, m, n: [(draw(b, m, n), draw(6, n), draw(6)), (draw(b, m, n), draw(6, n))],
        lambda draw: [(draw(300, 70), draw(260, 70), draw(260))],
    ),
    "layer_norm": on_arrays(
        lambda draw, b, m, n: [(draw(b, m, n), draw(n), draw(n)), (3 + draw(b, m, n), draw(n), draw(n), 1e-3)],
        lambda draw: [(draw(300, 260), draw(260), draw(260))],
    ),
    "gelu": on_arrays(lambda draw, b, m, n: [(3 * draw(b, m, n),)]),
    "quick_gelu": on_arrays(lambda draw, b, m, n: [(3 * draw(b, m, n),), (100 * np.abs(draw(b, m, n)),)]),
    "gaussian_window": on_fields(_gaussian),
    "neighbourhood_addition": on_fields(_addition),
    "split_heads": on_fields(lambda draw, b, h, w: [(draw(b, h * w, 8), 2)]),
    "merge_heads": on_fields(lambda draw, b, h, w: [(draw(b, 2, h * w, 4),)]),
    "attention": on_fields(
        _attention, lambda draw: [(draw(1, 300, 8), draw(1, 260, 8), draw(1, 260, 8), 2, 0.5, draw(300, 260))]
    ),
    "attention_weights": on_fields(
        _attention_weights, lambda draw: [(draw(1, 2, 300, 4), draw(1, 2, 260, 4), 0.5, draw(300, 260))]
    ),
    "link_weights": on_fields(
        lambda draw, b, h, w: [(abs(draw(b, h * w, h * w)), 3.0, mass) for mass in (None, 0.45, 0.0)], _more_links
    ),
    "resize_bilinear": on_fields(_bilinear, lambda draw: [(draw(3, 20, 30), (300, 77))]),
    "resize_bicubic": on_fields(_bicubic),
    "pamr": on_fields(_pamr, lambda draw: [(draw(1, 3, 40, 60), draw(1, 11, 20, 30), 3)], in_unit=True),
    "pamr_affinity": on_fields(_affinity, in_unit=True),
    "nearest_neighbours": on_fields(
        lambda draw, b, h, w: [(draw(h * w, 6), 4), (draw(h * w, 6), h * w - 1)],
        lambda draw: [(draw(1600, 5), 30), (draw(12, 6), 1)],
    ),
    "local_outlier_factor": on_fields(_outlier_factor, lambda draw: [(draw(1600, 5), 30)]),
    "mean_interpolation": on_fields(_interpolation),
}
"""By the primitive's name: array verbs and layers on arrays (b, m, n), kernels on b pictures of h x w places."""

"""`ClipFeatures`: all that a head needs of a CLIP image tower's pass over a batch of pictures.

Heads are compared without weights, a GPU or open_clip: the record is saved, loaded, and read by any backend.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.files.records import Header, load_record, require, save_record
from core.primitives.arrays import Array, as_numpy

KIND = "features 2"
MIDDLE_LAYER = 8  # of 12 blocks, where SC-CLIP finds content best kept apart


def weight_shapes(width: int, embed: int) -> dict[str, tuple[int, ...]]:
    """The names that the last block's weights and the tower's end have in open_clip, and their shapes."""
    return {
        "ln_1.weight": (width,), "ln_1.bias": (width,), "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,), "attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,),
        "ln_2.weight": (width,), "ln_2.bias": (width,), "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,), "mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,),
        "ln_post.weight": (width,), "ln_post.bias": (width,), "proj": (width, embed),
    }  # fmt: skip


WEIGHT_NAMES = tuple(weight_shapes(1, 1))


@dataclass(frozen=True)
class HeadWeights:
    """The last block's weights and the tower's end, under open_clip's names.

    arrays: `WEIGHT_NAMES` -> array; in_proj (3 D, D) stacks q, k and v, `proj` is (D, E), the others as linear layers are.
    n_heads: attention heads H of the last block. activation: "quick_gelu" or "gelu". eps: of every layer norm.
    """

    arrays: Mapping[str, Array]
    n_heads: int
    activation: str = "quick_gelu"
    eps: float = 1e-5
    _converted: dict[str, "HeadWeights"] = field(default_factory=dict, repr=False, compare=False)
    _projections: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises InputError when a weight is missing or the activation is not one of the two."""
        missing = [name for name in WEIGHT_NAMES if name not in self.arrays]
        if missing:
            raise InputError(f"the head's weights lack {', '.join(missing)}")
        if self.activation not in ("quick_gelu", "gelu"):
            raise InputError(f"activation must be quick_gelu or gelu, not {self.activation!r}")

    def __getitem__(self, name: str) -> Array:
        """The array of that name."""
        return self.arrays[name]

    def projection(self, name: str) -> tuple[Array, Array]:
        """The weight (D, D) and bias (D,) of "q", "k" or "v", cut out of in_proj once."""
        if name not in self._projections:
            rows = self["attn.in_proj_bias"].shape[0] // 3
            part = slice("qkv".index(name) * rows, ("qkv".index(name) + 1) * rows)
            self._projections[name] = (self["attn.in_proj_weight"][part], self["attn.in_proj_bias"][part])
        return self._projections[name]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all that the weights are, computed once, so that features of another model are told without comparing."""
        digest = hashlib.sha256(f"{self.n_heads} {self.activation} {self.eps}".encode())
        for name in WEIGHT_NAMES:
            x = np.ascontiguousarray(as_numpy(self[name]))
            digest.update(f"{name} {x.dtype} {x.shape}".encode() + x.tobytes())
        return digest.hexdigest()

    def to(self, ops: Any) -> "HeadWeights":
        """The same weights as a backend's arrays, converted once."""
        if ops.name not in self._converted:
            arrays = {name: ops.asarray(x) for name, x in self.arrays.items()}
            self._converted[ops.name] = replace(self, arrays=arrays, _converted={}, _projections={})
        return self._converted[ops.name]


@dataclass(frozen=True)
class ClipFeatures:
    """One pass of a batch of B pictures through a CLIP image tower of L blocks, up to its last block.

    hidden: x[0], ..., x[L-2], each (B, 1 + N, D), class token first, patches row by row. grid: (h, w) with N = h w.
    attention: weights of block L-2, (B, H, 1 + N, 1 + N), where they were asked for. source: which picture it was and how
    it was shown (`core.clip.saved`), where that is known.
    """

    hidden: Sequence[Array]
    weights: HeadWeights
    grid: tuple[int, int]
    attention: Array | None = None
    source: Mapping[str, str | int] | None = None

    def __post_init__(self) -> None:
        """Raises InputError when the hidden states do not fit the grid."""
        if not len(self.hidden):
            raise InputError("ClipFeatures needs at least one hidden state")
        shape = tuple(self.hidden[-1].shape)
        if len(shape) != 3 or shape[1] != 1 + self.grid[0] * self.grid[1]:
            raise InputError(f"hidden states of shape {shape} do not fit a grid of {self.grid[0]} x {self.grid[1]} patches")

    def to(self, ops: Any) -> "ClipFeatures":
        """The same record as a backend's arrays; each hidden state is converted when it is first read."""
        attention = None if self.attention is None else ops.asarray(self.attention)
        hidden = self.hidden if isinstance(self.hidden, _Lazy) else _Lazy(self.hidden)
        return replace(self, hidden=hidden.converted(ops.asarray), weights=self.weights.to(ops), attention=attention)

    def pictures(self, first: int, end: int) -> "ClipFeatures":
        """The record of pictures `first` to `end`, `end` excluded, of the batch."""
        attention = None if self.attention is None else self.attention[first:end]
        return replace(self, hidden=[x[first:end] for x in self.hidden], attention=attention)

    def save(self, path: str | Path) -> None:
        """Writes the record as an uncompressed .npz."""
        arrays = {f"hidden.{i}": as_numpy(x) for i, x in enumerate(self.hidden)}
        arrays |= {f"weights.{name}": as_numpy(x) for name, x in self.weights.arrays.items()}
        if self.attention is not None:
            arrays["attention"] = as_numpy(self.attention)
        facts = {"grid": list(self.grid), "n_heads": self.weights.n_heads, "activation": self.weights.activation,
                 "eps": self.weights.eps, "source": None if self.source is None else dict(self.source)}  # fmt: skip
        save_record(path, KIND, facts, arrays)

    @classmethod
    def load(cls, path: str | Path) -> "ClipFeatures":
        """Reads what `save` wrote, as NumPy arrays. Raises InputError for any other file."""
        return load_record(path, KIND, "features file", cls._restored, _gate, finite=True)

    @classmethod
    def _restored(cls, facts: dict[str, Any], arrays: dict[str, Array]) -> "ClipFeatures":
        weights = {k.removeprefix("weights."): x for k, x in arrays.items() if k.startswith("weights.")}
        hidden = [arrays[f"hidden.{i}"] for i in range(sum(k.startswith("hidden.") for k in arrays))]
        head = HeadWeights(weights, facts["n_heads"], facts["activation"], facts["eps"])
        rows, columns = facts["grid"]
        source = dict(facts["source"]) if facts.get("source") else None
        return cls(hidden, head, (rows, columns), arrays.get("attention"), source)


def _gate(facts: dict[str, Any], headers: Mapping[str, Header]) -> None:
    """What a saved record must be: float32 throughout, and every shape what the grid and the heads make it."""
    sides, n_heads, eps = facts["grid"], facts["n_heads"], facts["eps"]
    counts = [*sides, n_heads] if isinstance(sides, list) and len(sides) == 2 else [0]
    if not all(type(count) is int and count > 0 for count in counts):
        raise ValueError("its grid and its number of heads must be whole numbers above 0")
    if type(eps) is not float or not 0 < eps < 1:
        raise ValueError(f"its eps is {eps!r}, not between 0 and 1")
    _check_source(facts["source"])
    layers = [name for name in headers if name.startswith("hidden.")]
    if "hidden.0" not in layers or len(headers["hidden.0"].shape) != 3:
        raise ValueError("it lacks hidden states of three dimensions")
    n_pictures, _, width = headers["hidden.0"].shape
    proj = headers["weights.proj"].shape if "weights.proj" in headers else ()
    if n_pictures < 1 or width < 1 or width % n_heads or len(proj) != 2 or proj[1] < 1:
        raise ValueError(f"its pictures, width or projection do not fit {n_heads} heads")
    n_tokens = 1 + sides[0] * sides[1]
    shapes = {f"hidden.{i}": (n_pictures, n_tokens, width) for i in range(len(layers))}
    shapes |= {f"weights.{name}": shape for name, shape in weight_shapes(width, proj[1]).items()}
    if "attention" in headers:
        shapes["attention"] = (n_pictures, n_heads, n_tokens, n_tokens)
    require(headers, shapes, "float32")


def _check_source(source: Any) -> None:
    """Raises ValueError for anything but None and a flat table of texts and whole numbers."""
    values = source.values() if isinstance(source, dict) else [] if source is None else [None]
    if not all(type(value) in (str, int) for value in values):
        raise ValueError("its source is no table of texts and whole numbers")


class _Lazy(Sequence):
    """Arrays converted on first reading: most heads read one hidden state of many."""

    def __init__(self, source: Sequence[Array], convert: Callable[[Array], Array] = lambda x: x) -> None:
        self._source, self._convert, self._done = source, convert, {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Array:
        index = range(len(self))[index]
        if index not in self._done:
            self._done[index] = self._convert(self._source[index])
        return self._done[index]

    def converted(self, convert: Callable[[Array], Array]) -> "_Lazy":
        return _Lazy(self._source, convert)


def self_features(ops: Any, features: ClipFeatures) -> Array:
    """The CLIP in hand as its own external model: a middle layer's patches as a field (B, D, h, w), so that none is needed.

    The layer is block 8, or the middle block of a tower with fewer.
    """
    layer = MIDDLE_LAYER if len(features.hidden) > MIDDLE_LAYER else len(features.hidden) // 2
    patches = ops.asarray(features.hidden[layer])[:, 1:]
    batch, _, width = patches.shape
    return ops.reshape(ops.swap_last(patches), (batch, width, *features.grid))

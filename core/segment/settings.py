"""Everything that decides a result beside the picture, the words and the model: one line a setting, resolved once.

`Settings` is what the Segmenter runs with, what is written beside a result, what presets give and what the commands offer as
options. A new setting is one more line of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.clip.model import ClipModel
from core.errors import InputError
from core.methods.limits import Limit, said
from core.methods.registry import METHODS, find_method, method_needs, resolve_options

Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Kind:
    """What a setting's value may be. `text` is how a command line's word is read."""

    says: str
    check: Check
    metavar: str
    text: Callable[[str], Any] | None = None


def _number(limit: Limit, says: str) -> Kind:
    return Kind(says, lambda x: isinstance(x, int | float) and not isinstance(x, bool) and limit.allows(x), "X", float)


def _whole(least: int, most: int, says: str) -> Kind:
    return Kind(says, lambda x: isinstance(x, int) and not isinstance(x, bool) and least <= x <= most, "N", int)


def _several(x: Any) -> bool:
    return isinstance(x, tuple | list) and len(x) > 0


MOST = 1_000_000
PIXELS = _whole(1, MOST, f"at least 1 pixel and at most {MOST:,}")
PIXELS_OR_NONE = _whole(0, MOST, f"at least one patch and at most {MOST:,} pixels, or 0 to see the picture whole")
BATCH_SIZE = _whole(1, MOST, f"at least 1 and at most {MOST:,}")
SHARE = _number(Limit(0, 1), "in 0..1")
SCALE = _number(Limit(0, MOST, above=True), f"a number above 0 and at most {MOST:,}")
COUNT = _whole(0, MOST, f"a whole number, 0 to {MOST:,}")
SWITCH = Kind("true or false", lambda x: isinstance(x, bool), "")
WORD = Kind("a word", lambda x: x is None or (isinstance(x, str) and bool(x)), "NAME")
DILATIONS = Kind(
    f"whole numbers of at least 1 and at most {MOST:,}", lambda x: _several(x) and all(map(PIXELS.check, x)), "N,N...",
    lambda text: tuple(int(part) for part in text.split(",")),
)  # fmt: skip


def setting(kind: Kind, says: str, default: Any = None) -> Any:
    """A setting: what its value may be, what it is in a line, and what it is unless given (None: see `resolve`)."""
    return field(metadata={"kind": kind, "says": says, "default": default})


@dataclass(frozen=True)
class Settings:
    """A method with its options, and the settings around it.

    Raises InputError for a value that cannot be.
    """

    method: str
    options: Mapping[str, Any]
    external: str | None = setting(WORD, "other vision model, for methods that read one: NAME or NAME:FILE; self: CLIP itself")
    short_side: int = setting(PIXELS, "resize the shorter side to N pixels")
    window: int = setting(PIXELS_OR_NONE, "slide a window of N x N pixels; 0: none")
    stride: int = setting(PIXELS_OR_NONE, "by N pixels")
    whole_patches: bool = setting(SWITCH, "round the picture's sides to whole patches, not to pixels", True)
    logit_scale: float = setting(SCALE, "factor before the softmax over the phrases", 40.0)  # NACLIP's, section 4.1
    prob_thd: float = setting(SHARE, "pixels below this probability get class 0", 0.0)
    area_thd: float = setting(SHARE, "drop classes up to this share of the foreground", 0.0)
    pamr: bool = setting(SWITCH, "refine the edges by PAMR, or not")
    pamr_iterations: int = setting(COUNT, "steps of PAMR", 10)
    pamr_dilations: tuple[int, ...] = setting(DILATIONS, "how far PAMR's neighbours lie, in pixels", (8, 16))

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            value = getattr(self, name)
            if not kind.check(value):
                raise InputError(f"{name} must be {kind.says}, not {said(value)}")
        if self.window and not 1 <= self.stride <= self.window:
            raise InputError(f"the stride must be at most the window ({self.window}), not {self.stride}")

    def record(self) -> dict[str, Any]:
        """All settings as they are, ready for JSON."""
        return asdict(self) | {"options": dict(self.options), "pamr_dilations": list(self.pamr_dilations)}


KINDS: dict[str, Kind] = {f.name: f.metadata["kind"] for f in fields(Settings) if f.metadata}
SAYS: dict[str, str] = {f.name: f.metadata["says"] for f in fields(Settings) if f.metadata}
"""What each setting beside the method and its options may be, and what it is."""

_DEFAULTS = {f.name: f.metadata["default"] for f in fields(Settings) if f.metadata and f.metadata["default"] is not None}


def check_given(method: str, given: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> None:
    """Judges what a caller gives, settings and the method's options, over a data set's preset, before anything is loaded.

    Raises InputError for an unknown method or name, a value that cannot be, and an external model that is missing or not read.
    """
    given = _given(given)
    below = _given(preset or {})
    if "window" in given:
        below.pop("stride", None)  # it goes with the preset's own window
    given = below | given
    options = {name: value for name, value in given.items() if name not in KINDS}
    resolve_options(method, options)
    for name, value in given.items():
        if name in KINDS and not KINDS[name].check(value):
            raise InputError(f"{name} must be {KINDS[name].says}, not {said(value)}")
    window, stride = given.get("window"), given.get("stride")
    if window and stride is not None and stride > window:
        raise InputError(f"the stride must be at most the window ({window}), not {stride}")
    if not given.get("pamr", find_method(method)[0].pamr):
        for name in given.keys() & {"pamr_iterations", "pamr_dilations"}:
            raise InputError(f"{name} has no effect: PAMR is off for {method}; give pamr too, or leave it out")
    needs = method_needs(method, options)
    if "external" in needs and given.get("external") is None:
        raise InputError(f"{method} reads another vision model: name it in external, or self for the CLIP's own middle layer")
    if given.get("external") is not None and "external" not in needs:
        readers = " or ".join(name for name, record in METHODS.items() if "external" in record.needs)
        raise InputError(f"{method} reads no external model: leave external out, or take {readers}")


def resolve(method: str, clip: ClipModel, preset: Mapping[str, Any], chosen: Mapping[str, Any]) -> Settings:
    """The settings of a run: published ones, over them the model's own, a data set's preset, and what the caller chose.

    preset, chosen: settings and, among the chosen, the method's options; None is not given. A window without a stride has half
    of it as stride. Unless anyone says, the picture is shown at 1.5 times the model's trained size, in windows of that size.

    Raises InputError for any that cannot be.
    """
    check_given(method, chosen, preset)
    own, preset, chosen = (_given(layer) for layer in (clip.preset, preset, chosen))
    record, _ = find_method(method)
    trained = clip.image_size
    published = {**_DEFAULTS, "external": None, "pamr": record.pamr, "short_side": trained * 3 // 2, "window": trained}
    layers = [{name: x for name, x in layer.items() if name in KINDS} for layer in (published, own, preset, chosen)]
    values = {name: x for layer in layers for name, x in layer.items()}
    values["stride"] = _stride(layers, values["window"], clip.patch_size)
    values["pamr_dilations"] = tuple(values["pamr_dilations"])
    values["logit_scale"] = float(values["logit_scale"])
    options = resolve_options(method, {name: x for name, x in chosen.items() if name not in KINDS}, own)
    return Settings(method, options, **values)


def _given(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in layer.items() if x is not None}


def _stride(layers: list[dict[str, Any]], window: int, patch: int) -> int:
    """The stride that goes with the window: one given below the window's own layer belongs to another window."""
    if window % patch:
        raise InputError(f"the window must be a multiple of the model's patch of {patch} pixels, not {window}")
    first = max(i for i, layer in enumerate(layers) if "window" in layer)
    strides = [layer["stride"] for layer in layers[first:] if "stride" in layer]
    if window and 0 in strides[-1:]:
        raise InputError("stride must be at least 1 pixel, not 0")
    if any(strides) and not window:
        raise InputError("a stride needs a window: give --window too")
    return (strides[-1] if strides else window // 2) if window else 0


def lines() -> Iterator[str]:
    """A line a setting, for `help`."""
    for name, says in SAYS.items():
        yield f"{name}: {says}"

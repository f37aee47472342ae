"""The methods by name, each a record: its recipe, and every fact about it that anyone needs to know.

A recipe is a function `(ops, features, given, *, options...)` over a backend's primitives `ops`, `ClipFeatures` of its arrays
and `Given`; it gives the patch embeddings (B, h, w, E) and the `Steps` that can be looked at.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from core.backends import load_backend
from core.clip.features import ClipFeatures
from core.errors import InputError
from core.methods.compose import PARTS, Idle, given_and_own, nothing_idle, split_name
from core.methods.feedback import FEEDBACK_LIMITS, feedback_idle
from core.methods.last_block import (
    ATTENTION_STRATEGIES,
    BLOCKS,
    clearclip,
    maskclip,
    maskclip_idle,
    naclip,
    naclip_idle,
    sclip,
    vanilla,
)
from core.methods.limits import CONTRAST, COSINE, COUNT, FACTOR, LAYER, MEANS, PATCHES, SHARE, Limit, said
from core.methods.outliers import DETECTORS
from core.methods.proxyclip_fsa import fsa, proxyclip
from core.methods.scclip_sfp import scclip, sfp, sfp_idle
from core.methods.seen import Seen, Steps
from core.notes import one_line
from core.primitives.arrays import Array
from core.primitives.outlier_factor import VARIANTS


@dataclass(frozen=True)
class Method:
    """All that is known of a method beside its formula.

    recipe: the function; its keyword-only parameters are the method's options, their defaults the published values.
    needs: what it reads beside the hidden states, of "text", "external" and "attention" (block L-2's). needs_with: the same
    where an option has a value, such as {"attention": ("detector", "SOM")}. choices: the values an option may have, where
    they are words. limits: between which values an option lies, where it is a number or several. idle: tells which options
    have no effect among others. takes: the parts that can be added to it. refuses: others, with the reason. preset: whose
    settings it is evaluated with (`core.evaluation.published`), its own authors' or those of another; None where nobody's
    fit. pamr: whether it was published with PAMR.
    """

    name: str
    recipe: Callable[..., tuple[Array, Steps]]
    needs: tuple[str, ...] = ()
    needs_with: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    idle: Idle = nothing_idle
    takes: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    preset: str | None = None
    pamr: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The method's own options and their published values."""
        parameters = inspect.signature(self.recipe).parameters
        return {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


ALL = tuple(PARTS)
CALIBRATION = {
    "beta": COSINE, "pre_layer": LAYER, "post_layer": LAYER, "multi_layers": LAYER, "res_cls": FACTOR, "n_neighbors": COUNT,
    "contamination": SHARE,
}  # fmt: skip
PROXY = {"beta": MEANS, "gamma": CONTRAST}
ELSEWHERE = "{}'s attention is another model's, on that model's grid"
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "vanilla", vanilla, takes=("neighbourhood", "repair"), preset="naclip-no-pamr",
            refuses={"fsa": "fsa corrects an attention between patches that look alike, and vanilla's is none"},
        ),
        Method(
            "maskclip", maskclip, takes=("repair", "fsa"), preset="naclip-no-pamr", idle=maskclip_idle,
            refuses={"neighbourhood": "maskclip has no attention to add a neighbourhood to"},
        ),
        Method("sclip", sclip, takes=ALL, preset="sclip"),
        Method("clearclip", clearclip, takes=ALL, preset="naclip-no-pamr"),
        Method(
            "naclip", naclip, takes=("repair", "fsa"), preset="naclip", pamr=True,
            refuses={"neighbourhood": "naclip has its neighbourhood already"},
            choices={"attn_strategy": ATTENTION_STRATEGIES, "arch": BLOCKS}, idle=naclip_idle,
            limits={"gaussian_std": PATCHES},
        ),
        Method(
            "scclip", scclip, takes=("neighbourhood", "fsa"), preset="scclip",
            refuses={"repair": "scclip repairs its outliers already"},
            choices={"self_attention": ("kk", "qk"), "lof_variant": VARIANTS}, limits=CALIBRATION,
        ),
        Method(
            "sfp", sfp, takes=("neighbourhood", "fsa"), preset="sfp",
            refuses={"repair": "sfp repairs its outliers already"}, needs_with={"attention": ("detector", "SOM")},
            choices={"detector": DETECTORS, "attention": ("released", "notes")}, idle=sfp_idle,
            limits=CALIBRATION | {"n_outliers": COUNT, "res_scale": FACTOR},
        ),
        Method(
            "proxyclip", proxyclip, needs=("external",), takes=("repair", "fsa"), preset="proxyclip",
            refuses={"neighbourhood": ELSEWHERE.format("proxyclip")}, limits=PROXY,
        ),
        Method(
            "fsa", fsa, needs=("external", "text"), takes=("repair",), preset="fsa", idle=feedback_idle,
            refuses={"neighbourhood": ELSEWHERE.format("fsa"), "fsa": "fsa is proxyclip with the feedback already"},
            limits=PROXY | FEEDBACK_LIMITS,
        ),
    )
}  # fmt: skip


def find_method(name: str) -> tuple[Method, tuple[str, ...]]:
    """The record of a method, or of a composition's base, and the parts added to it.

    Raises InputError, with the reason, when there is no such method or the composition is not possible.
    """
    base, parts = split_name(name)
    if base not in METHODS:
        raise InputError(f"unknown method {base!r}: choose one of {', '.join(METHODS)}")
    method = METHODS[base]
    for part in parts:
        if part not in method.takes:
            reason = method.refuses.get(part, f"{base} does not take the part {part}")
            raise InputError(f"{name!r} is not possible: {reason}")
        shared = sorted(method.options.keys() & PARTS[part].options.keys())
        if shared:
            raise InputError(f"{name!r} is not possible: {base} and {part} both have the option {', '.join(shared)}")
    return method, parts


def method_options(name: str) -> dict[str, Any]:
    """The options of a method, or of a composition such as "scclip+neighbourhood+fsa", and their published values.

    Raises InputError when there is no such method, or the composition is not possible.
    """
    method, parts = find_method(name)
    return method.options | {option: value for part in parts for option, value in PARTS[part].options.items()}


def resolve_options(name: str, chosen: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options with which a method runs: the published ones, over them the model's `own`, over them the `chosen`.

    An option that has no effect among the others is left out. Raises InputError when there is no such method or option, a
    value is of another kind than the published one, none that can be chosen or outside its limits, or a chosen option has no
    effect.
    """
    (method, parts), published = find_method(name), method_options(name)
    unknown = [option for option in chosen if option not in published]
    if unknown:
        offers = f"its options are {', '.join(published)}" if published else "it has none"
        raise InputError(f"method {name} has no option {one_line(', '.join(unknown), 200)}: {offers}")
    given = {option: own[option] for option in published if own and option in own} | dict(chosen)
    limits = dict(method.limits)
    for part in parts:
        limits |= PARTS[part].limits
    for option, value in given.items():
        if not _alike(value, published[option]):
            raise InputError(f"option {option} of {name} must be like the published {published[option]!r}, not {said(value)}")
        offered = method.choices.get(option, (value,))
        if value not in offered:
            raise InputError(f"option {option} of {name} must be one of {', '.join(offered)}, not {said(value)}")
        if option in limits and not limits[option].allows(value):
            raise InputError(f"option {option} of {name} must be {limits[option]}, not {said(value)}")
    values = published | given
    idle = dict(method.idle(values, parts))
    for part in parts:
        idle |= PARTS[part].idle(values, parts)
    for option in chosen:
        if option in idle:
            raise InputError(f"option {option} of {name} has no effect: {idle[option]}; leave it out")
    return {option: value for option, value in values.items() if option not in idle}


def _alike(value: Any, published: Any) -> bool:
    """Whether a value is of the published one's kind: switch, whole number, number, word, or as many of them."""
    if isinstance(published, tuple):
        several = isinstance(value, tuple | list) and len(value) == len(published)
        return several and all(map(_alike, value, published))
    if isinstance(published, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(published, bool)
    kinds = {int: Integral, float: Real, str: str}
    return isinstance(value, kinds[type(published)])


def check_layers(name: str, options: Mapping[str, Any], n_layers: int) -> None:
    """Raises InputError when an option names a block that an image tower of `n_layers` does not have before its last."""
    method, _ = find_method(name)
    for option, limit in method.limits.items():
        if limit.layer and option in options:
            value = options[option]
            for layer in value if isinstance(value, tuple | list) else (value,):
                if layer > n_layers - 2:
                    has = f"this model's image tower has blocks 0 to {n_layers - 2} before its last"
                    raise InputError(f"{has}, so layer {layer} is not there: option {option} of {name}")


def method_needs(name: str, options: Mapping[str, Any] | None = None) -> frozenset[str]:
    """What a method reads beside the hidden states: any of "text", "external" and "attention" (block L-2's)."""
    method, parts = find_method(name)
    values = method.options | dict(options or {})
    also = {need for need, (option, value) in method.needs_with.items() if values[option] == value}
    return frozenset(method.needs) | also | ({"text"} if "fsa" in parts else set())


def apply_method(
    ops: Any,
    features: ClipFeatures,
    method: str,
    text: Array | None = None,
    external: Array | None = None,
    **options: Any,
) -> tuple[Array, Seen]:
    """The patch embeddings (B, h, w, E), native arrays of `ops`, not normalised, and what the method saw on the way.

    The arguments and errors are `patch_embeddings`'s.
    """
    record, parts = find_method(method)
    given, own = given_and_own(parts, resolve_options(method, options), text, external)
    with ops.undisturbed():
        embeddings, steps = record.recipe(ops, features.to(ops), given, **own)
    return embeddings, Seen(ops, steps)


def patch_embeddings(
    features: ClipFeatures,
    method: str = "naclip",
    backend: str = "numpy",
    text: Array | None = None,
    external: Array | None = None,
    **options: Any,
) -> np.ndarray:
    """The patch embeddings of a method on a backend, in CLIP's shared space.

    features: of B pictures on an h x w grid. method: a name of `METHODS`, or a composition BASE+PART+PART of the parts
    neighbourhood, repair and fsa. text: (Q, E) embeddings, external: (B, c, h', w') features of another model, for the
    methods that read them; the others do not look at them. options: the method's own, under the papers' names
    (`method_options`).
    Returns (B, h, w, E) NumPy, not normalised, on the external grid for proxyclip and fsa; cosines with the text
    embeddings are the patch logits.

    Raises InputError for an unknown method, option or backend, or a backend that is not installed.
    """
    ops = load_backend(backend)
    with ops.undisturbed():
        embeddings, _ = apply_method(ops, features, method, text, external, **options)
        return ops.to_numpy(embeddings)

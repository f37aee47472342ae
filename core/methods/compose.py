"""Parts that can be added to a method: a neighbourhood, repaired outliers, feedback. `BASE+PART+PART` names a composition.

What a method allows stands in its record (`core.methods.registry`); here are the parts themselves, and how they reach a recipe.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from core.methods.feedback import FEEDBACK_LIMITS, Feedback, feedback_idle
from core.methods.limits import COUNT, PATCHES, SHARE, Limit
from core.primitives.arrays import Array

Idle = Callable[[Mapping[str, Any], Sequence[str]], Mapping[str, str]]
"""The options that have no effect among these options, with these parts added -> the reason of each."""


def nothing_idle(options: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Every option has its effect."""
    return {}


@dataclass(frozen=True)
class Part:
    """What can be added to a method: the options that it brings, with their published values; the rest as in a record."""

    options: Mapping[str, Any]
    idle: Idle = nothing_idle
    limits: Mapping[str, Limit] = field(default_factory=dict)


PARTS: dict[str, Part] = {
    "neighbourhood": Part({"gaussian_std": 5.0}, limits={"gaussian_std": PATCHES}),
    "repair": Part({"n_neighbors": 30, "contamination": 0.05}, limits={"n_neighbors": COUNT, "contamination": SHARE}),
    "fsa": Part(
        {"isolate": True, "prune": True, "ensemble": True, "sharpness": 3.0, "mass": 0.45}, feedback_idle, FEEDBACK_LIMITS
    ),
}


@dataclass(frozen=True)
class Given:
    """What a recipe is given beside the features and its own options; the parts are None unless a composition has them.

    text: (Q, E) embeddings of the phrases. external: (B, c, h', w') features of another vision model. neighbourhood: std in
    patches of the Gaussian added to the attention logits (NACLIP). repair: LOF's n_neighbors and contamination, to
    interpolate the outliers of the last block's input (SC-CLIP). feedback: FSA's settings.
    """

    text: Array | None = None
    external: Array | None = None
    neighbourhood: float | None = None
    repair: tuple[int, float] | None = None
    feedback: Feedback | None = None


WITHOUT_PARTS = Given()


def split_name(method: str) -> tuple[str, tuple[str, ...]]:
    """"scclip+neighbourhood+fsa" -> ("scclip", ("neighbourhood", "fsa")).

    Raises InputError for a part that is unknown or doubled.
    """
    base, *parts = method.split("+")
    for part in parts:
        if part not in PARTS:
            raise InputError(f"unknown part {part!r} in {method!r}: the parts are {', '.join(PARTS)}")
        if parts.count(part) > 1:
            raise InputError(f"the part {part} stands twice in {method!r}")
    return base, tuple(parts)


def given_and_own(
    parts: Sequence[str], options: Mapping[str, Any], text: Array | None, external: Array | None
) -> tuple[Given, dict[str, Any]]:
    """What the recipe of the base is given, and the options that are its own and no part's."""
    values = {name: {key: options.get(key, value) for key, value in PARTS[name].options.items()} for name in parts}
    given = Given(
        text,
        external,
        neighbourhood=values["neighbourhood"]["gaussian_std"] if "neighbourhood" in values else None,
        repair=tuple(values["repair"].values()) if "repair" in values else None,
        feedback=Feedback(**values["fsa"]) if "fsa" in values else None,
    )
    taken = {key for name in parts for key in PARTS[name].options}
    return given, {key: value for key, value in options.items() if key not in taken}

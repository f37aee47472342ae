"""Parts that a recipe can take on: a neighbourhood, repaired outliers, feedback. `BASE+PART+PART` names a composition."""

from dataclasses import dataclass
from typing import Any

from core.arrays import Array
from core.errors import InputError
from core.feedback import Feedback

OPTIONS: dict[str, dict[str, Any]] = {
    "neighbourhood": {"gaussian_std": 5.0},
    "repair": {"n_neighbors": 30, "contamination": 0.05},
    "fsa": {"isolate": True, "prune": True, "ensemble": True, "sharpness": 3.0},
}
"""The parts, and the options each brings."""

IMPOSSIBLE = {
    ("maskclip", "neighbourhood"): "maskclip has no attention to add a neighbourhood to",
    ("naclip", "neighbourhood"): "naclip has its neighbourhood already",
    ("proxyclip", "neighbourhood"): "proxyclip's attention is another model's, on that model's grid",
    ("fsa", "neighbourhood"): "fsa's attention is another model's, on that model's grid",
    ("vanilla", "fsa"): "fsa corrects an attention between patches that look alike, and vanilla's is none",
    ("fsa", "fsa"): "fsa is proxyclip with the feedback already",
    ("scclip", "repair"): "scclip repairs its outliers already",
    ("sfp", "repair"): "sfp repairs its outliers already",
}


@dataclass(frozen=True)
class Parts:
    """What is added to a published recipe; nothing, unless a composition says so.

    neighbourhood: std in patches of the Gaussian added to the attention logits (NACLIP). repair: LOF's n_neighbors and
    contamination, to interpolate the outliers of the last block's input (SC-CLIP). feedback: FSA's settings. seen: where
    recipes note "outliers" (B, N), "before_repair" and "after_repair" (B, N, D), "attention" (B, H, M, M) over the patches,
    "corrected_attention" (B, 1, M, M) and "before_feedback" (B, M, D); nowhere when it is None.
    """

    neighbourhood: float | None = None
    repair: tuple[int, float] | None = None
    feedback: Feedback | None = None
    seen: dict[str, Array] | None = None

    def note(self, **arrays: Array | None) -> None:
        """Keeps what the method saw, for pictures of it; the first of a name stays."""
        if self.seen is not None:
            for name, x in arrays.items():
                self.seen.setdefault(name, x)


NO_PARTS = Parts()


def split_name(method: str) -> tuple[str, tuple[str, ...]]:
    """"scclip+neighbourhood+fsa" -> ("scclip", ("neighbourhood", "fsa")).

    Raises InputError, with the reason, for a part that is unknown, doubled, or cannot be added to that base.
    """
    base, *parts = method.split("+")
    for part in parts:
        if part not in OPTIONS:
            raise InputError(f"unknown part {part!r} in {method!r}: the parts are {', '.join(OPTIONS)}")
        if parts.count(part) > 1:
            raise InputError(f"the part {part} stands twice in {method!r}")
        if (base, part) in IMPOSSIBLE:
            raise InputError(f"{method!r} is not possible: {IMPOSSIBLE[base, part]}")
    return base, tuple(parts)


def make_parts(names: tuple[str, ...], options: dict[str, Any]) -> tuple[Parts, dict[str, Any]]:
    """The parts with their options, and the options that are left for the base."""
    own = {name: OPTIONS[name] | {key: options[key] for key in OPTIONS[name] if key in options} for name in names}
    taken = {key for name in names for key in OPTIONS[name]}
    parts = Parts(
        neighbourhood=own["neighbourhood"]["gaussian_std"] if "neighbourhood" in own else None,
        repair=tuple(own["repair"].values()) if "repair" in own else None,
        feedback=Feedback(**own["fsa"]) if "fsa" in own else None,
    )
    return parts, {key: value for key, value in options.items() if key not in taken}

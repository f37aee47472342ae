"""The cases: a name, what is run, on what, and how close the outcomes must be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from core.backends import load_backend
from core.clip.features import ClipFeatures, self_features
from core.errors import InputError
from core.methods.registry import method_needs
from core.parity.cases.decisions import DECISIONS, decision_trials
from core.parity.cases.inputs import N_PHRASES, generator, in_dtype, normal
from core.parity.cases.methods import (
    UNPRUNED,
    VARIANTS,
    accuracy_on_pictures,
    method_trials,
    prunes,
    run_method,
    variant_name,
)
from core.parity.cases.primitives import COMPUTE_NOTHING, PRIMITIVES, primitive_trials, run_primitive

GROUPS = ("primitive", "decision", "method", "picture")
DTYPES = ("float32", "float64")


class About(NamedTuple):
    """What is said of a case: its group of `GROUPS`, the kind of its tolerance (`comparison.TOLERANCES`), and a remark."""

    group: str
    accuracy: str
    note: str = ""


@dataclass(frozen=True)
class Case:
    """trials: dtype -> {"2 x 3 x 5": arguments}, NumPy. run: (ops, *arguments) -> named arrays, NumPy.

    Arrays of whole numbers or booleans are choices; "NAME margin" beside "NAME" says how clear each choice is.
    """

    name: str
    about: About
    trials: Callable[[str], dict[str, tuple]]
    run: Callable[..., dict[str, np.ndarray]]


def seeded_cases() -> list[Case]:
    """All that is compared without a picture: every primitive, the decisions on the way, every method."""
    cases = [
        Case(name, About("primitive", "kernel"), partial(primitive_trials, name), _primitive(name))
        for name in PRIMITIVES
    ]
    cases += [Case(name, About("decision", "kernel"), partial(decision_trials, name), run) for name, run in DECISIONS.items()]
    for method, options in VARIANTS:
        about = About("method", "head", UNPRUNED if prunes(method, options) else "")
        cases.append(Case(variant_name(method, options), about, partial(method_trials, method, options), run_method))
    return cases


def _primitive(name: str) -> Callable[..., dict[str, np.ndarray]]:
    return lambda ops, *arguments: run_primitive(ops, name, *arguments)


def choose_cases(cases: Sequence[Case], patterns: Sequence[str] | None) -> list[Case]:
    """Those whose name one of the patterns fits ("naclip*"), all without patterns.

    Raises InputError for a pattern that fits none.
    """
    if patterns is None:
        return list(cases)
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            near = get_close_matches(pattern, [case.name for case in cases], 3)
            offer = f"did you mean {' or '.join(near)}?" if near else "--list names all"
            raise InputError(f"no case is called {pattern!r}: {offer}")
    return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]


def primitives_of(ops: Any) -> set[str]:
    """The functions in a backend's namespace that give arrays."""
    return {name for name, value in vars(ops).items() if callable(value)} - set(COMPUTE_NOTHING)


def feature_cases(features: ClipFeatures) -> list[Case]:
    """Every method as published, and the compositions, on a user's own features.

    The phrases are seeded, and the external features are the tower's own (`core.clip.features.self_features`).
    """
    cases = []
    for method in (method for method, options in VARIANTS if not options):
        about = About("method", *accuracy_on_pictures(method, {}))
        cases.append(Case(method, about, partial(_feature_trials, features, method), run_method))
    return cases


def _feature_trials(features: ClipFeatures, method: str, dtype: str) -> dict[str, tuple]:
    ops = load_backend("numpy")
    features = in_dtype(features, dtype)
    embed = features.weights["proj"].shape[-1]
    text = normal(generator("phrases"), (N_PHRASES, embed), dtype)
    external = self_features(ops, features) if "external" in method_needs(method) else None
    label = " x ".join(map(str, (features.hidden[-1].shape[0], *features.grid)))
    return {label: (features, method, text, external, {})}

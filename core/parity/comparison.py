"""Two runs held against each other: differences by tolerance, choices where they are clear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

import numpy as np

from core.errors import InputError
from core.parity.cases.catalogue import About
from core.parity.runs import Key, Run

TOLERANCES = {
    "float64": {"kernel": 1e-10, "head": 1e-10, "feedback": 1e-10},
    "float32": {"kernel": 1e-5, "head": 1e-4, "feedback": 2e-3},
}
"""Largest difference allowed, relative to the largest entry of the reference, which is the first of a pair.

"feedback": FSA with its pruning on pictures of many patches, where float32's rounding prunes a link here and there that
another backend keeps. "head": the other methods.
"""
UNCOVERED = "every primitive has a case"


@dataclass(frozen=True)
class Row:
    """How two runs compare in one case and dtype, the worst over its trials.

    absolute, relative: largest difference, relative to the largest entry of the reference; infinite where NaN, other shapes
    or an error leave none to be measured. agreement: smallest share of equal choices (labels, outliers, links), None where
    there are none. problem: what is wrong, None when all is within tolerance. trial: one that has the problem, else the one
    that differs most. where: its relative difference at each place (h, w) of the grid or picture, for methods.
    """

    case: str
    about: About
    dtype: str
    pair: tuple[str, str]
    tolerance: float
    absolute: float = 0.0
    relative: float = 0.0
    agreement: float | None = None
    problem: str | None = None
    trial: str = ""
    where: np.ndarray | None = None


def compare_all(runs: Sequence[Run]) -> list[Row]:
    """A row for each case, dtype and pair of runs, case by case.

    Raises InputError when two runs were not made of the same cases and inputs.
    """
    pairs = list(combinations(runs, 2))
    for a, b in pairs:
        check_comparable(a, b)
    rows = [compare_case(a, b, name, dtype) for name, dtype in _names_and_dtypes(runs[0]) for a, b in pairs]
    return rows + [row for a, b in pairs for row in _uncovered(a, b)]


def check_comparable(a: Run, b: Run) -> None:
    """Raises InputError unless both were made of the same cases with the same inputs."""
    if a.inputs.keys() != b.inputs.keys():
        name = min(a.inputs.keys() ^ b.inputs.keys())
        holder, other = (a, b) if name in a.inputs else (b, a)
        lacks = f"{holder.label} holds {' '.join(name)} and {other.label} does not"
        raise InputError(f"{lacks}: run both with the same --only and --dtypes")
    for key, digest in a.inputs.items():
        if b.inputs[key] != digest:
            where = f"first in {' '.join(key)}"
            raise InputError(f"the inputs of {a.label} and {b.label} differ, {where}: compare runs of the same inputs")


def _names_and_dtypes(run: Run) -> list[tuple[str, str]]:
    return list(dict.fromkeys((name, dtype) for name, dtype, _ in run.inputs))


def _uncovered(a: Run, b: Run) -> Iterator[Row]:
    """A failing row when a primitive that both backends have is in no case."""
    if a.primitives is None or b.primitives is None:
        return
    forgotten = sorted((a.primitives & b.primitives) - a.about.keys())
    if forgotten:
        problem = f"no case for {', '.join(forgotten)}"
        yield Row(UNCOVERED, About("primitive", "kernel"), "", (a.label, b.label), 0.0, problem=problem)


def compare_case(a: Run, b: Run, name: str, dtype: str) -> Row:
    """The worst over a case's trials."""
    about = a.about[name]
    row = Row(name, about, dtype, (a.label, b.label), TOLERANCES[dtype][about.accuracy])
    parts = [part for key in a.inputs if key[:2] == (name, dtype) for part in compare_trial(a, b, key, row)]
    return reduce(worse, parts)


def worse(row: Row, part: Row) -> Row:
    """Both in one: largest differences and smallest agreement; the trial shown is one with a problem, or differs most."""
    shares = [share for share in (row.agreement, part.agreement) if share is not None]
    shown = max(row, part, key=lambda one: (one.problem is not None, one.relative))
    absolute, relative = max(row.absolute, part.absolute), max(row.relative, part.relative)
    return replace(shown, absolute=absolute, relative=relative, agreement=min(shares, default=None))


def compare_trial(a: Run, b: Run, key: Key, row: Row) -> Iterator[Row]:
    """A row for each array of a trial."""
    row = replace(row, trial=key[2])
    for run in (a, b):
        if key in run.errors:
            yield incomparable(row, f"{run.label} raises {run.errors[key]}")
            return
    theirs, mine = a.outcomes[key], b.outcomes[key]
    if theirs.keys() != mine.keys():
        yield incomparable(row, f"{a.label} gives {', '.join(theirs)} and {b.label} {', '.join(mine)}")
        return
    for name in theirs:
        if not name.endswith(" margin"):
            yield compare_arrays(theirs[name], mine[name], row, name, theirs.get(f"{name} margin"))


def incomparable(row: Row, problem: str) -> Row:
    """A row of outcomes between which there is no difference in numbers: it counts as infinite."""
    return replace(row, absolute=np.inf, relative=np.inf, problem=problem)


def compare_arrays(a: np.ndarray, b: np.ndarray, row: Row, name: str, margin: np.ndarray | None = None) -> Row:
    """Numbers by the row's tolerance; choices, of which those differ rightly whose margin is within it, by their share."""
    if a.shape != b.shape:
        return incomparable(row, f"{name}: shapes {a.shape} and {b.shape}")
    if _kind(a) != _kind(b):
        return incomparable(row, f"{name}: dtypes {a.dtype} and {b.dtype}")
    if a.dtype.kind in "biu":
        return _compare_choices(a, b, row, name, margin)
    for label, x in zip(row.pair, (a, b), strict=True):
        if np.isnan(x).any():
            return incomparable(row, f"{name}: NaN on {label}'s side")
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite]) or not np.isfinite(b[finite]).all():
        return incomparable(row, f"{name}: infinite on one side only")
    a, b = (np.where(finite, x, 0).astype(np.float64) for x in (a, b))
    difference = np.abs(a - b)
    absolute, scale = (float(x.max(initial=0.0)) for x in (difference, np.abs(a)))
    relative = absolute / max(scale, 1e-30)
    problem = None if relative <= row.tolerance else f"{name}: {relative:.1e} exceeds {row.tolerance:.0e}"
    where = _where(name, difference / max(scale, 1e-30))
    return replace(row, absolute=absolute, relative=relative, problem=problem, where=where)


def _kind(x: np.ndarray) -> str:
    """Choices are of one kind, whatever the width of their integers; of floats the width counts."""
    return "choice" if x.dtype.kind in "biu" else str(x.dtype)


def _compare_choices(a: np.ndarray, b: np.ndarray, row: Row, name: str, margin: np.ndarray | None) -> Row:
    differ = a != b
    agreement = 1.0 - float(differ.mean()) if differ.size else 1.0
    clear = differ if margin is None else differ & ~(margin <= row.tolerance)
    problem = f"{name}: {int(clear.sum())} of {differ.size} differ that are clear" if clear.any() else None
    return replace(row, agreement=agreement, problem=problem)


def _where(name: str, difference: np.ndarray) -> np.ndarray | None:
    """The largest difference at each place: of embeddings (B, h, w, E) or pixel logits (Q, H, W); else None."""
    axes = {"embeddings": (0, 3), "logits": (0,)}.get(name)
    return None if axes is None else difference.max(axis=axes)

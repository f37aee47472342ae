"""A run kept as .npz, so that machines with other frameworks can be compared with it.

The file holds what came out, and the SHA-256 of what went in: two dumps of other inputs are not compared.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.files.records import load_record, save_record
from core.parity.cases.catalogue import DTYPES, GROUPS, About
from core.parity.cases.inputs import SEED
from core.parity.comparison import TOLERANCES
from core.parity.runs import Run

KIND = "parity 2"
SEPARATOR = " | "  # between case, dtype, trial and array in the name of an array


def save_dump(run: Run, path: str | os.PathLike) -> None:
    """Writes a run as an uncompressed .npz."""
    facts = {
        "seed": SEED, "label": run.label, "facts": run.facts,
        "about": {name: list(about) for name, about in run.about.items()},
        "primitives": None if run.primitives is None else sorted(run.primitives),
        "inputs": [[*key, digest] for key, digest in run.inputs.items()],
        "errors": [[*key, error] for key, error in run.errors.items()],
    }  # fmt: skip
    arrays = {SEPARATOR.join((*key, name)): x for key, outcome in run.outcomes.items() for name, x in outcome.items()}
    try:
        save_record(path, KIND, facts, arrays)
    except OSError as error:
        raise InputError(f"the dump cannot be written to {path}: {error.strerror or error}") from None


def load_dump(path: str | os.PathLike) -> Run:
    """Reads what `save_dump` wrote. Raises InputError for any other file."""
    return load_record(path, KIND, "dump", lambda facts, arrays: _checked(_run(facts, arrays)))


def _run(facts: dict, arrays: dict[str, np.ndarray]) -> Run:
    about = {name: About(*parts) for name, parts in facts["about"].items()}
    primitives = None if facts["primitives"] is None else frozenset(facts["primitives"])
    run = Run(str(facts["label"]), dict(facts["facts"]), about, primitives)
    for case, dtype, trial, digest in facts["inputs"]:
        run.inputs[case, dtype, trial] = digest
    for case, dtype, trial, error in facts["errors"]:
        run.errors[case, dtype, trial] = error
    for full, x in arrays.items():
        case, dtype, trial, name = full.split(SEPARATOR)
        run.outcomes.setdefault((case, dtype, trial), {})[name] = x
    return run


def _checked(run: Run) -> Run:
    """The run, if each of its trials has an outcome or an error, and the tables know its cases."""
    if run.inputs.keys() != run.outcomes.keys() | run.errors.keys() or not run.inputs:
        raise ValueError("some of its cases lack their outcome")
    if any(x.dtype.kind not in "biuf" for outcome in run.outcomes.values() for x in outcome.values()):
        raise ValueError("it holds arrays that are no numbers")
    for case, dtype, _ in run.inputs:
        about = run.about[case]
        if dtype not in DTYPES or about.group not in GROUPS or about.accuracy not in TOLERANCES[dtype]:
            raise ValueError(f"its case {case} is of an unknown kind")
    return run


def load_pair(paths: Sequence[str]) -> list[Run]:
    """Two dumps, named by their files too where the backend is the same. Raises InputError for one file twice."""
    runs = [load_dump(path) for path in paths]
    if os.path.samefile(*paths):
        raise InputError(f"{paths[0]} is given twice: a comparison needs two dumps")
    if runs[0].label == runs[1].label:
        stems = [Path(path).stem for path in paths]
        for run, name in zip(runs, stems if stems[0] != stems[1] else paths, strict=True):
            run.label = f"{run.label} ({name})"
    return runs

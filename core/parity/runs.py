"""The cases run on one backend, and everything that is needed to compare that with another run."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import first_line
from core.parity.cases.catalogue import About, Case, primitives_of
from core.parity.cases.inputs import fingerprint
from core.versions import installed_versions

FRAMEWORKS = {"numpy": (), "torch": ("torch",), "jittor": ("jittor",)}

Key = tuple[str, str, str]  # case, dtype, trial


@dataclass
class Run:
    """What one backend made of the cases.

    label: how tables call it. facts: backend, versions, platform. about: of each case, in the order of the run.
    outcomes: arrays by name for each trial. errors: what was raised in its place. inputs: SHA-256 of each trial's
    arguments. primitives: of the backend; None when only some cases were chosen.
    """

    label: str
    facts: dict[str, str]
    about: dict[str, About]
    primitives: frozenset[str] | None = None
    outcomes: dict[Key, dict[str, np.ndarray]] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    inputs: dict[Key, str] = field(default_factory=dict)


def run_cases(ops: Any, cases: Iterable[Case], dtypes: Sequence[str], complete: bool = False) -> Run:
    """Runs the cases on a backend; an error of one is noted and ends only that trial.

    complete: these are all seeded cases, so each primitive of the backend must be among them.
    """
    run = Run(ops.name, machine_facts(ops.name), {}, frozenset(primitives_of(ops)) if complete else None)
    for case in cases:
        run.about[case.name] = case.about
        for dtype in dtypes:
            for trial, arguments in case.trials(dtype).items():
                key = (case.name, dtype, trial)
                run.inputs[key] = fingerprint(arguments)
                try:
                    run.outcomes[key] = case.run(ops, *arguments)
                except Exception as error:  # whatever is raised, the other cases are worth comparing
                    run.errors[key] = first_line(error)
    return run


def machine_facts(backend: str) -> dict[str, str]:
    """The backend, the versions that matter to it, and the kind of machine."""
    versions = installed_versions(("numpy", "jittor-ovseg", *FRAMEWORKS[backend]))
    return {"backend": backend, **versions, "platform": f"{platform.system()} {platform.machine()}"}

"""Which methods are measured: all that are published, the compositions worth knowing, and all that can be composed."""

from collections.abc import Iterator
from itertools import combinations

from core.errors import InputError
from core.methods.compose import PARTS
from core.methods.registry import METHODS, find_method, method_needs

WORTH_KNOWING = ("clearclip+neighbourhood", "naclip+fsa", "maskclip+fsa")


def measured_methods() -> tuple[str, ...]:
    """What `--all-methods` measures: every published method, and the compositions worth knowing."""
    return (*METHODS, *WORTH_KNOWING)


def compositions() -> Iterator[str]:
    """Every method alone and with every set of parts that it can take."""
    for base in METHODS:
        for n_parts in range(len(PARTS) + 1):
            for parts in combinations(PARTS, n_parts):
                method = "+".join((base, *parts))
                try:
                    find_method(method)
                except InputError:  # it says which of the parts cannot be added
                    continue
                yield method


def reads_external(method: str) -> bool:
    """Whether a method reads another vision model."""
    return "external" in method_needs(method)

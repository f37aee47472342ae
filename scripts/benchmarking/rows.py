"""The rows of the benchmark by name."""

from collections.abc import Callable, Iterator

from benchmarking.heads import fsa, fsa_memory, heads
from benchmarking.lines import Line
from benchmarking.pictures import gpu, naclip, second_call, windows
from benchmarking.primitives import kl, lof, lof_memory, pamr, pamr_memory
from benchmarking.settings import Settings

ROWS: dict[str, Callable[[Settings], Iterator[Line]]] = {
    "pamr": pamr,
    "pamr-memory": pamr_memory,
    "lof": lof,
    "lof-memory": lof_memory,
    "fsa": fsa,
    "fsa-memory": fsa_memory,
    "kl": kl,
    "naclip": naclip,
    "heads": heads,
    "windows": windows,
    "second-call": second_call,
    "gpu": gpu,
}

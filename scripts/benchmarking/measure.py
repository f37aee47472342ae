"""The clock: competitors called in turns, so that a disturbed moment hits all of them, and medians."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.primitives.arrays import as_numpy

PAUSE = 0.02  # seconds before each call, in which the threads of the framework called before fall asleep
SLOW, VERY_SLOW = 0.5, 12.0  # seconds of a call: above the first three calls are enough, above the second one
FEW = 3
TOLERANCE = 1e-4  # of results, relative to the largest magnitude


class Disagreement(Exception):
    """Two forms of the same computation gave different results; the message is one line."""


@dataclass(frozen=True)
class Timed:
    """How long a call took, each time, in seconds; and what its first call gave."""

    seconds: tuple[float, ...]
    result: Any = None

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.seconds)


def in_turns(calls: Mapping[str, Callable[[], Any]], repeat: int) -> dict[str, Timed]:
    """Times each of the calls `repeat` times, A B A B ..., after two warm-up calls each.

    A call of more than 0.5 s is timed three times after one warm-up, one of more than 12 s once and without.
    """
    results, seconds, counts = {}, {}, {}
    for name, call in calls.items():
        results[name], first = clock(call)
        seconds[name] = [first] if first > VERY_SLOW else []
        counts[name] = 0 if first > VERY_SLOW else min(repeat, FEW) if first > SLOW else repeat
        if first <= SLOW:
            call()
    for turn in range(repeat):
        for name, call in calls.items():
            if turn < counts[name]:
                seconds[name].append(clock(call)[1])
    return {name: Timed(tuple(seconds[name]), results[name]) for name in calls}


def clock(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the seconds it takes."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def check_agreement(what: str, ours: Any, theirs: Any) -> None:
    """Raises Disagreement unless two results agree to 1e-4 of their largest magnitude."""
    ours, theirs = (np.asarray(as_numpy(x), dtype=np.float64).ravel() for x in (ours, theirs))
    if ours.shape != theirs.shape:
        raise Disagreement(f"{what}: {ours.size} entries against {theirs.size}")
    difference = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))
    if not difference <= TOLERANCE:  # NaN is no agreement
        raise Disagreement(f"{what}: the results differ by {difference:.1e} of the largest, more than {TOLERANCE:.0e}")

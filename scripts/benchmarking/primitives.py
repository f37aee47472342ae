"""The rows of the primitives: PAMR, LOF and FSA's divergence against their textbook forms, and the memory they take."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarking import cases, textbook
from benchmarking.lines import Line, describe, ratio
from benchmarking.machine import memory_bytes
from benchmarking.measure import Timed, check_agreement, in_turns
from benchmarking.probe import probe
from benchmarking.settings import FAST, Settings, by
from core.backends import load_backend
from core.primitives.arrays import as_numpy

MB = 1e6
MANY_CLASSES = 60
PAMR_TARGETS = {"jittor": 200, "torch": 30, "numpy": 5}
LOF_TARGETS = {"jittor": 200, "torch": 200}
LINEAR = 1.1  # time per class at many classes over that at few


def pamr(settings: Settings) -> Iterator[Line]:
    """PAMR, 10 steps, dilations 8 and 16, against its textbook form; linear in classes."""
    size = {"picture": settings.picture, "classes": settings.classes}
    what = f"PAMR, {by(settings.picture)}, {settings.classes} classes: textbook over"
    timed = against_textbook("pamr", size, textbook.pamr, cases.pamr_inputs, settings)
    for name in settings.backends:
        yield ratio("pamr", f"{what} {name}", timed["textbook"], timed[name], "at least", PAMR_TARGETS[name])
    many = MANY_CLASSES if settings.classes < MANY_CLASSES else 2 * settings.classes
    for ops in settings.ops(FAST):
        calls = {n: cases.pamr(ops, settings.device, settings.picture, n) for n in (settings.classes, many)}
        few, more = in_turns(calls, settings.repeat).values()
        value = (more.median / many) / (few.median / settings.classes)
        what = f"PAMR on {ops.name}: time a class at {many} classes over at {settings.classes}"
        detail = f"{describe(more)} for {many}, {describe(few)} for {settings.classes}"
        yield Line("pamr", what, value, "", "at most", LINEAR, detail, {"over": more.seconds, "under": few.seconds})


def pamr_memory(settings: Settings) -> Iterator[Line]:
    """PAMR's extra memory, at most its affinity and two masks."""
    pixels = settings.picture[0] * settings.picture[1]
    bound = 4 * pixels * (16 + 2 * settings.classes)
    point = {"picture": settings.picture, "classes": settings.classes}
    said = f"of {by(settings.picture)} and {settings.classes} classes; the bound is the affinity and two masks"
    yield from memory_lines("pamr-memory", "PAMR", "pamr", point, bound, said, settings)


def lof(settings: Settings) -> Iterator[Line]:
    """LOF against its textbook form of all pairs' differences."""
    tokens, width = settings.tokens, settings.width
    needed, there = textbook.lof_bytes(tokens, width), memory_bytes("MemAvailable")
    what = f"LOF, {tokens} tokens of width {width}: textbook over"
    if settings.device == "cpu" and 1.05 * needed > there:
        fits = int((there / (1.05 * 4 * width)) ** 0.5) // 64 * 64
        why = f"the textbook form takes {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are free: give --tokens {fits}"
        yield Line("lof", f"{what} the others", detail=why)
        return
    size = {"tokens": tokens, "width": width}
    timed = against_textbook("lof", size, textbook.local_outlier_factor, cases.lof_inputs, settings)
    for name in settings.backends:
        target = LOF_TARGETS.get(name)
        yield ratio("lof", f"{what} {name}", timed["textbook"], timed[name], "at least" if target else None, target)


def lof_memory(settings: Settings) -> Iterator[Line]:
    """LOF's extra memory, at most 4 N^2 floats."""
    point = {"tokens": settings.tokens, "width": settings.width}
    said = f"of {settings.tokens} tokens of width {settings.width}; the bound is 4 N^2 floats"
    yield from memory_lines("lof-memory", "LOF", "lof", point, 4 * 4 * settings.tokens**2, said, settings)


def kl(settings: Settings) -> Iterator[Line]:
    """FSA's divergence of all pairs as one product, against the textbook's N x N x C terms."""
    size = {"places": settings.grid[0] * settings.grid[1], "classes": 171}
    timed = against_textbook("kl", size, textbook.kl_divergence, cases.kl_inputs, settings)
    what = f"KL of all pairs, {by(settings.grid)} places, 171 classes: textbook over"
    for name in settings.backends:
        yield ratio("kl", f"{what} {name}", timed["textbook"], timed[name])


def against_textbook(
    case: str, size: dict[str, Any], form: Callable[..., Any], inputs: Callable[..., tuple], settings: Settings
) -> dict[str, Timed]:
    """A case on every backend, and after them its textbook form, "textbook"; raises Disagreement where results differ."""
    timed = in_turns({ops.name: cases.CASES[case](ops, settings.device, **size) for ops in settings.ops()}, settings.repeat)
    torch = load_backend("torch")
    given = inputs(torch, settings.device, **size)
    timed |= in_turns({"textbook": cases.settled(torch, lambda: form(*given))}, settings.repeat)
    expected = as_numpy(timed["textbook"].result)
    for name in settings.backends:
        check_agreement(f"{case} on {name} and its textbook form", timed[name].result, expected)
    return timed


def memory_lines(
    row: str, label: str, case: str, point: dict[str, Any], bound: float, said: str, settings: Settings
) -> Iterator[Line]:
    """The extra memory of a case on every backend, each in a process of its own."""
    for name in settings.backends:
        what = f"{label} on {name}: memory above inputs and result"
        if settings.device != "cpu":
            yield Line(row, what, detail="resident memory says nothing about a GPU: give --device cpu")
            continue
        (found,) = probe(case, name, [point])
        yield Line(row, what, found["extra_bytes"] / MB, "MB", "at most", bound / MB, said)

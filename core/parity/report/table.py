"""What a comparison found: a table for the terminal, a record for JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from core.parity.comparison import TOLERANCES, Row
from core.parity.runs import Run

HEADINGS = {"primitive": "primitives", "decision": "decisions", "method": "methods", "picture": "picture"}


def pair_name(pair: tuple[str, str]) -> str:
    """`numpy-torch`."""
    return "-".join(pair)


def passed(rows: Iterable[Row]) -> bool:
    """Whether all is within tolerance."""
    return all(row.problem is None for row in rows)


def by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each case, in their order."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    return cases


def columns_of(rows: Sequence[Row]) -> list[tuple[str, tuple[str, str]]]:
    """(dtype, pair) of each column of differences."""
    return sorted({(row.dtype, row.pair): None for row in rows if row.dtype}, key=lambda column: column[0])


def number(x: float) -> str:
    """A difference in 7 characters; none at all is 0, one that cannot be measured n/a."""
    return "0" if x == 0 else f"{x:.1e}" if np.isfinite(x) else "n/a"


def table_lines(rows: Sequence[Row]) -> list[str]:
    """A line a case: relative differences by dtype and pair, the largest absolute one by dtype, agreement of choices."""
    columns, cases = columns_of(rows), by_case(rows)
    dtypes = list(dict.fromkeys(dtype for dtype, _ in columns))
    heads = [["", *(dtype for dtype, _ in columns), *dtypes, ""],
             ["", *(f"{a}-" for _, (a, _) in columns), *("absolute" for _ in dtypes), "choices"],
             ["", *(b for _, (_, b) in columns), *("" for _ in dtypes), ""]]  # fmt: skip
    table = [[name, *case_cells(own, columns, dtypes)] for name, own in cases.items()]
    widths = [max(map(len, column)) for column in zip(*heads, *table, strict=True)]
    lines = [aligned(cells, widths) for cells in heads]
    group = None
    for cells, own in zip(table, cases.values(), strict=True):
        if own[0].about.group != group:
            group = own[0].about.group
            lines.append(HEADINGS[group])
        lines.append(aligned(cells, widths))
        lines += [f"  ! {failure(row)}" for row in own if row.problem]
    return lines


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell to the left, the others to the right."""
    name, *others = (f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                     for i, (cell, width) in enumerate(zip(cells, widths, strict=True)))  # fmt: skip
    return "  ".join(["  " + name, *others]).rstrip()


def case_cells(own: Sequence[Row], columns: Sequence[tuple[str, tuple[str, str]]], dtypes: Sequence[str]) -> list[str]:
    """The figures of a case; "*" leads to a remark, "!" to a failure."""
    rows = {(row.dtype, row.pair): row for row in own}
    cells = [figure(rows[column]) if column in rows else "" for column in columns]
    for dtype in dtypes:
        absolute = [row.absolute for row in own if row.dtype == dtype]
        cells.append(number(max(absolute)) if absolute else "")
    shares = [row.agreement for row in own if row.agreement is not None]
    return [*cells, share(min(shares)) if shares else ""]


def figure(row: Row) -> str:
    """The relative difference of a row, marked."""
    noted = "*" if row.about.note and row.dtype == "float32" else ""
    return f"{number(row.relative)}{noted}{'!' if row.problem else ''}"


def share(x: float) -> str:
    """A share in percent that says 100 % only of all."""
    return "100%" if x == 1 else f"{min(100 * x, 99.99):.2f}%"


def failure(row: Row) -> str:
    """What is wrong with a row, in one line."""
    where = f", {row.trial}" if row.trial else ""
    return f"{row.case}, {pair_name(row.pair)}{', ' if row.dtype else ''}{row.dtype}{where}: {row.problem}"


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """The tolerances, the remarks, and the verdict."""
    notes = dict.fromkeys(row.about.note for row in rows if row.about.note)
    lines = [f"* {note}" for note in notes]
    lines += [f"tolerance, relative to the largest entry of the first of a pair: {tolerance_text(rows)}"]
    failing = [row for row in rows if row.problem]
    n_cases, pairs = len(by_case(rows)), list(dict.fromkeys(pair_name(row.pair) for row in rows))
    dtypes = " and ".join(sorted({row.dtype for row in rows if row.dtype}))
    compared = f"{n_cases} case{'s' * (n_cases != 1)}, {', '.join(pairs)}, {dtypes}"
    if not failing:
        worst = max(rows, key=lambda row: row.relative / row.tolerance)
        used = f"the worst, {worst.case} in {worst.dtype}, uses {worst.relative / worst.tolerance:.1%} of it"
        return [*lines, f"PASSED: {compared}: all within tolerance; {used}"]
    names = list(dict.fromkeys(row.case for row in failing))
    return [*lines, f"FAILED: {compared}: beyond tolerance in {len(names)}: {', '.join(names)}"]


def tolerance_text(rows: Sequence[Row]) -> str:
    """`float32 primitives and decisions 1e-05, methods 1e-04; float64 1e-10`, as far as it concerns the rows."""
    names = {"kernel": "primitives and decisions", "head": "methods", "feedback": "methods marked *"}
    texts = []
    for dtype, table in TOLERANCES.items():
        kinds = [kind for kind in table if any(row.dtype == dtype and row.about.accuracy == kind for row in rows)]
        if len({table[kind] for kind in kinds}) == 1:
            texts.append(f"{dtype} {table[kinds[0]]:.0e}")
        elif kinds:
            texts.append(f"{dtype} " + ", ".join(f"{names[kind]} {table[kind]:.0e}" for kind in kinds))
    return "; ".join(sorted(texts))


def record(runs: Sequence[Run], rows: Sequence[Row], more: dict[str, Any]) -> dict[str, Any]:
    """Everything for JSON; a difference that is no number, or infinite, is null beside its problem."""
    return {
        "passed": passed(rows),
        "runs": [{"label": run.label, **run.facts} for run in runs],
        **more,
        "rows": [
            {
                "case": row.case, "group": row.about.group, "dtype": row.dtype, "pair": list(row.pair),
                "absolute": _finite(row.absolute), "relative": _finite(row.relative), "tolerance": row.tolerance,
                "agreement": row.agreement, "trial": row.trial, "passed": row.problem is None, "problem": row.problem,
                "note": row.about.note,
            }
            for row in rows
        ],
    }  # fmt: skip


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None

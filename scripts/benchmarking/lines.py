"""What a row of the benchmark says: a figure, its target, whether it is met; and the table of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarking.measure import Timed

MARKDOWN_HEAD = ("| what | measured | target | met | |", "|---|---|---|---|---|")


@dataclass(frozen=True)
class Line:
    """A figure of the row `row`; `value` is None where it was not measured, and `detail` says why.

    unit: "x" for a ratio of times, "ms", "MB" (10^6 bytes), or "" for shares and counts. seconds: of each competitor, every
    timed call.
    """

    row: str
    what: str
    value: float | None = None
    unit: str = ""
    bound: Literal["at least", "at most"] | None = None
    target: float | None = None
    detail: str = ""
    seconds: Mapping[str, Sequence[float]] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure meets its target; None where there is no figure or no target."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target

    def record(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | {"met": self.met}


def ratio(
    row: str, what: str, over: Timed, under: Timed, bound: Any = None, target: float | None = None, unit: str = "x"
) -> Line:
    """The ratio of two medians, with both and their spreads."""
    detail = f"{describe(over)} / {describe(under)}"
    seconds = {"over": over.seconds, "under": under.seconds}
    return Line(row, what, over.median / under.median, unit, bound, target, detail, seconds)


def describe(timed: Timed) -> str:
    """The median, and the least and the most where there were several."""
    factor, unit = (1, "s") if timed.median >= 1 else (1000, "ms")
    median, low, high = (three_digits(factor * s) for s in (timed.median, min(timed.seconds), max(timed.seconds)))
    return f"{median} {unit} ({low} to {high})" if len(timed.seconds) > 1 else f"{median} {unit} (once)"


def three_digits(value: float) -> str:
    """A number with three figures: 0.0712, 45.1, 231, 12900."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def figure(line: Line) -> str:
    """The value with its unit."""
    if line.value is None:
        return "not run"
    return three_digits(line.value) + (line.unit if line.unit in ("", "x") else f" {line.unit}")


def wanted(line: Line) -> str:
    """The target with its unit, or a dash."""
    if line.target is None:
        return "-"
    sign = ">=" if line.bound == "at least" else "<="
    return f"{sign} {three_digits(line.target)}" + (line.unit if line.unit in ("", "x") else f" {line.unit}")


def verdict(line: Line) -> str:
    """Whether the target is met: yes, MISSED, or a dash where there is none."""
    return {True: "yes", False: "MISSED", None: "-"}[line.met]


def text_line(line: Line) -> str:
    """One line for the terminal."""
    return f"{line.row:12s} {line.what:72s} {figure(line):>8s} {wanted(line):>10s}  {verdict(line):7s} {line.detail}"


def markdown_table(lines: Iterable[Line]) -> str:
    """The table for a README."""
    rows = [f"| {line.what} | {figure(line)} | {wanted(line)} | {verdict(line)} | {line.detail} |" for line in lines]
    return "\n".join([*MARKDOWN_HEAD, *rows])

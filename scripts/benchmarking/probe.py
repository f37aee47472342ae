"""Extra memory, and time, of cases in a process of their own: `python -m benchmarking.probe JOB`, a line of JSON per point.

Extra memory is the largest resident size during the call, less that before it and less the result: what a computation needs
beside its inputs and its result. A tiny call beforehand loads what is loaded once.
"""

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarking import cases, measure
from core.backends import load_backend

Point = Mapping[str, Any]
TINY: dict[str, Point] = {
    "pamr": {"picture": (48, 48), "classes": 2},
    "lof": {"tokens": 64, "width": 64},
    "kl": {"places": 16, "classes": 3},
    "head": {"grid": (4, 4), "classes": 3, "width": 64, "external_grid": (8, 8)},
}
FOLDERS = [str(Path(__file__).resolve().parents[depth]) for depth in (1, 2)]  # this package's, and core's


def probe(case: str, backend: str, points: Sequence[Point], repeat: int = 0) -> Iterator[dict[str, Any]]:
    """For each point of a case {"extra_bytes": ..., "seconds": [...]}, from one process; `repeat` calls are timed.

    Raises RuntimeError with the last line of what the process said when it fails; what it gave before stands.
    """
    job = {"case": case, "backend": backend, "points": [dict(point) for point in points], "repeat": repeat}
    command = [sys.executable, "-m", "benchmarking.probe", json.dumps(job)]
    found_in = {"PYTHONPATH": os.pathsep.join([*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with tempfile.TemporaryFile("w+") as errors:
        streams = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        with subprocess.Popen(command, env={**os.environ, **found_in}, **streams) as child:
            try:
                for line in child.stdout:
                    if line.startswith("{"):
                        yield json.loads(line)
                child.wait()
            finally:
                child.kill()  # whoever asked may have heard enough
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if child.returncode:
        raise RuntimeError(f"{case} on {backend} ended with {child.returncode}: {said[-1] if said else 'no word'}")


def main(job: dict[str, Any]) -> None:
    """Measures the points one after another and prints each."""
    case, ops = cases.CASES[job["case"]], load_backend(job["backend"])
    if ops.name == "jittor":
        ops.select_device("cpu")
    tiny = dict(TINY[job["case"]])
    if job["case"] == "head":
        tiny["method"] = job["points"][0]["method"]
    case(ops, "cpu", **tiny)()
    for point in job["points"]:
        call = case(ops, "cpu", **{name: tuple(x) if isinstance(x, list) else x for name, x in point.items()})
        extra_bytes = extra_memory(ops, call)
        seconds = [measure.clock(call)[1] for _ in range(job["repeat"])]
        print(json.dumps({"extra_bytes": extra_bytes, "seconds": seconds}), flush=True)


def extra_memory(ops: Any, call: cases.Call) -> int:
    """The bytes that a call needs at once, above its inputs and its result."""
    give_back(ops)
    before = reset_peak()
    result = call()
    peak = peak_bytes()
    return max(peak - before - ops.to_numpy(result).nbytes, 0)


def give_back(ops: Any) -> None:
    """Hands free memory back to the system, so that it counts when it is taken again."""
    gc.collect()
    if ops.name == "jittor":
        from jt_backend.jittor import jt

        jt.sync_all(True)
        jt.gc()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def reset_peak() -> int:
    """The resident size now, which becomes the largest so far where Linux allows it; else the largest so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_bytes()
    return status_bytes("VmRSS")


def peak_bytes() -> int:
    """The largest resident size so far, or since it was reset."""
    return status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def status_bytes(name: str) -> int:
    """An entry of /proc/self/status; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

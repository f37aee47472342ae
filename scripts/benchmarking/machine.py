"""On what the figures were taken: processor, threads, versions, commit, date."""

import ctypes
import importlib.util
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from core.versions import installed_versions

ROOT = Path(__file__).resolve().parents[2]


def describe_run(backends: Sequence[str]) -> dict[str, Any]:
    """Machine, threads of each backend (loaded already), versions, commit and date, ready for JSON."""
    return {
        "machine": {
            "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory_bytes("MemTotal") / 1e9, 1),
            "gpu": gpu_model(), "system": platform.platform(),
        },
        "threads": {name: THREADS[name]() for name in backends},
        "versions": installed_versions(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }  # fmt: skip


def summary_lines(about: dict[str, Any]) -> list[str]:
    """The same for the terminal."""
    machine = about["machine"]
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    threads = ", ".join(f"{name} {count or 'unknown'}" for name, count in about["threads"].items())
    return [
        f"machine   {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB{gpu}",
        f"threads   {threads}",
        f"versions  {', '.join(f'{name} {version}' for name, version in about['versions'].items())}",
        f"commit    {about['commit'] or 'unknown'}",
        f"date      {about['date']}",
    ]


def cpu_model() -> str:
    """The processor's name."""
    lines = _read("/proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpu_model() -> str | None:
    """The name of the GPU that PyTorch can use, if there is one."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def memory_bytes(name: str) -> int:
    """An entry of /proc/meminfo, such as "MemAvailable"; 0 where there is none."""
    lines = [line for line in _read("/proc/meminfo").splitlines() if line.startswith(f"{name}:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def commit() -> str | None:
    """The commit of this tree, "-dirty" when it has been changed since; None outside git."""
    try:
        head = _git("rev-parse", "HEAD").strip()
        return head + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _numpy_threads() -> int | None:
    """Of the OpenBLAS that NumPy's wheels bring along; None for another."""
    import numpy as np

    for library in Path(np.__file__).parents[1].glob("numpy.libs/libopenblas*"):
        count = getattr(ctypes.CDLL(str(library)), "openblas_get_num_threads64_", None)
        if count is not None:
            return count()
    return None


def _jittor_threads() -> int:
    """Of OpenMP, as a kernel sees it."""
    from jt_backend.jittor import jt

    source = {"cpu_header": "#include <omp.h>", "cpu_src": "@out(0) = omp_get_max_threads();"}
    with jt.flag_scope(use_cuda=0):
        return int(jt.code([1], "int32", [], **source).numpy()[0])


THREADS = {"numpy": _numpy_threads, "torch": _torch_threads, "jittor": _jittor_threads}

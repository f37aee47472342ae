"""Whether Jittor can use a GPU here: a driver that counts a device, and a CUDA toolkit with every part that Jittor links.

Jittor 1.3.11 stops at its import when a part is missing, and downloads a toolkit when it finds a driver and no compiler.
"""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

LIBRARIES = ("cublas", "cudnn", "curand", "cufft", "cusparse")
CUDNN_8_PARTS = ("cudnn_ops_infer", "cudnn_ops_train", "cudnn_cnn_infer", "cudnn_cnn_train")
USUAL_COMPILERS = ("/usr/local/cuda/bin/nvcc", "/usr/bin/nvcc", "/opt/cuda/bin/nvcc")
SYSTEM_HEADERS = Path("/usr/include")
SYSTEM_LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib"))


class GpuChoice(NamedTuple):
    """What Jittor is told: the compiler ("" for the CPU, None to leave it to Jittor), and why no GPU, if none.

    `surprising` says that there is a GPU and it will not be used, which its owner should read.
    """

    nvcc_path: str | None
    why_not: str | None
    surprising: bool = False


def choose_gpu(cache: Path) -> GpuChoice:
    """The GPU where it can really be used, else the CPU; a toolkit that Jittor installed itself is left to Jittor."""
    if count_gpus() == 0:
        return GpuChoice("", "no NVIDIA driver counts a GPU on this machine")
    if (cache / "jtcuda").is_dir():
        return GpuChoice(None, None)
    compilers = [path for path in (shutil.which("nvcc"), *USUAL_COMPILERS) if path and os.access(path, os.X_OK)]
    if not compilers:
        return GpuChoice("", "there is a GPU but no CUDA compiler: install the CUDA toolkit (nvcc)", surprising=True)
    missing = [missing_part(Path(compiler)) for compiler in compilers]
    if None in missing:
        return GpuChoice(compilers[missing.index(None)], None)
    return GpuChoice("", f"there is a GPU but {missing[0]} is missing from the CUDA toolkit of {compilers[0]}", surprising=True)


def count_gpus() -> int:
    """The devices that the NVIDIA driver counts; 0 without a driver."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


def missing_part(compiler: Path) -> str | None:
    """The first file that Jittor needs of the toolkit around `compiler` and would not find; None when all are there."""
    version = compiler_version(compiler)
    if version is None:
        return "a compiler that runs"
    folder = Path(os.path.realpath(compiler)).parent
    root = folder.parent
    main = SYSTEM_LIBRARIES[0] if compiler == Path("/usr/bin/nvcc") else root / "lib64"
    libraries = [folder, main, root / "targets/x86_64-linux/lib", *SYSTEM_LIBRARIES]
    headers = [root / "include", root / "targets/x86_64-linux/include", SYSTEM_HEADERS]
    endings = (".so", ".so.8") if version == 11 else (".so",)
    if not (main / "libcudart.so").is_file():
        return "libcudart.so"
    for name in LIBRARIES:
        if not any((place / f"{name}.h").is_file() for place in headers):
            return f"{name}.h"
    for name in LIBRARIES + (CUDNN_8_PARTS if version >= 11 else ()):
        if not any((place / f"lib{name}{ending}").is_file() for place in libraries for ending in endings):
            return f"lib{name}.so"
    return None


def compiler_version(compiler: Path) -> int | None:
    """The major version that `nvcc --version` prints; None when it cannot be run."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    versions = re.findall(r"(\d+)\.\d+\.\d+", done.stdout) or re.findall(r"(\d+)\.\d+", done.stdout)
    return int(versions[-1]) if versions else None

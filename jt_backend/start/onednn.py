"""oneDNN 2.2 for Jittor's matrix products on the CPU, put where Jittor looks for it before it would download it.

Jittor 1.3.11 wants the library and its headers in `mkl/dnnl_lnx_2.2.0_cpu_gomp` in its cache folder. Two packages on PyPI
hold the very same release. Their files are copied, not linked to: an environment that is deleted must not break Jittor.
"""

import fcntl
import importlib.metadata
import os
import platform
import secrets
import shutil
import struct
import sys
from importlib.metadata import PackagePath
from pathlib import Path

from core.errors import InputError

FOLDER = "dnnl_lnx_2.2.0_cpu_gomp"
PACKAGES = ("onednn-cpu-gomp", "onednn-devel-cpu-gomp")
VERSION = "2021.2.0"  # the packages' version that holds oneDNN 2.2
COST = "Jittor's matrix products on the CPU are about 15 times slower"


def provide_onednn(cache: Path) -> str | None:
    """Puts oneDNN into Jittor's cache folder when it is not there.

    Returns None when Jittor will find it; else one line that says what its absence costs and what helps. Several processes
    may do this at once; a folder that others left half-made is replaced.

    Raises InputError when the folder cannot be written.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if any((cache / "mkl").glob("dnnl*/lib/libmkldnn.*")):
            return None
        return f"without oneDNN, which PyPI has for x86-64 Linux only, {COST}"
    target = cache / "mkl" / FOLDER
    if is_complete(target):
        return None
    files = packaged_files()
    if files is None:
        return f"without oneDNN {COST}: pip install " + " ".join(f"{package}=={VERSION}" for package in PACKAGES)
    try:
        _install(files, target)
    except OSError as error:
        raise InputError(
            f"oneDNN cannot be copied to {target} ({error.strerror}): make room there, or set use_mkl=0 to do without"
        ) from None
    return None


def is_complete(folder: Path) -> bool:
    """Whether Jittor can use the oneDNN in `folder`: its header, and its library whole."""
    return (folder / "include" / "mkldnn.hpp").is_file() and _is_whole_library(folder / "lib" / "libmkldnn.so")


def packaged_files() -> dict[str, PackagePath] | None:
    """The installed packages' headers and libraries, by their place in `FOLDER`; None unless all are there."""
    files = {}
    for package in PACKAGES:
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            return None
        if distribution.version != VERSION:
            return None
        for file in distribution.files or ():
            if "include" in file.parts:
                files["/".join(file.parts[file.parts.index("include") :])] = file
            elif ".so" in file.suffixes:
                files[f"lib/{file.name}"] = file
    return files if files and all(Path(file.locate()).is_file() for file in files.values()) else None


def _install(files: dict[str, PackagePath], target: Path) -> None:
    """Copies the files to a temporary folder beside `target`, then gives it its name, under a lock.

    No temporary name begins with "dnnl": Jittor takes the first folder that does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / ".onednn.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(target):
            return
        for remains in target.parent.glob(".onednn-*"):
            shutil.rmtree(remains, ignore_errors=True)
        temporary = target.parent / f".onednn-{secrets.token_hex(8)}"
        try:
            _copy(files, temporary)
            if target.exists():
                os.rename(target, f"{temporary}-half-made")
            os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(f"{temporary}-half-made", ignore_errors=True)


def _copy(files: dict[str, PackagePath], folder: Path) -> None:
    """One copy of each content; a further name for it becomes a link (the package holds its 51 MB library six times)."""
    first_names: dict[tuple[Path, str], str] = {}
    for place, file in sorted(files.items(), reverse=True):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (path.parent, file.hash.value if file.hash else place)
        if content in first_names:
            path.symlink_to(first_names[content])
        else:
            shutil.copyfile(file.locate(), path)
            first_names[content] = path.name


def _is_whole_library(path: Path) -> bool:
    """Whether a 64-bit ELF file reaches to the end of its section table, which comes last; a copy cut short does not."""
    try:
        with open(path, "rb") as file:
            header = file.read(64)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if len(header) < 64 or not header.startswith(b"\x7fELF"):
        return False
    (table,) = struct.unpack_from("<Q", header, 40)
    entry_size, entries = struct.unpack_from("<HH", header, 58)
    return size >= table + entry_size * entries

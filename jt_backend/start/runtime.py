"""Jittor made ready and imported: right for this machine, quiet, offline, and without side effects on the process.

Written against Jittor 1.3.11, whose import compiles it for minutes the first time and changes much of the process. What the
user set in the environment always wins.
"""

import atexit
import ctypes
import importlib
import importlib.util
import os
import shutil
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import numpy as np

from core.errors import InputError
from jt_backend.start.cache_folder import check_writable, is_compiled, jittor_cache, noted_for_this_run, why_there
from jt_backend.start.cuda import GpuChoice, choose_gpu
from jt_backend.start.onednn import provide_onednn

DOWNLOADED_CUDA_PARTS = {"use_cutt": "cutt/cutt-1.2", "use_cutlass": "cutlass/cutlass", "use_nccl": "nccl/nccl-2.8.4-1"}
HANDLED_SIGNALS = ("SIGINT", "SIGQUIT", "SIGILL", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGCHLD")

_lock = threading.RLock()
_failure: str | None = None
_why_no_gpu = "it was imported without one"


def import_jittor() -> ModuleType:
    """The module jittor, imported; prepared for this machine, unless the program has imported it before.

    Raises InputError when Jittor cannot be used here; the line says what to do, and is the same on every further call.
    """
    global _failure, _why_no_gpu
    with _lock:
        if sys.modules.get("jittor") is not None:
            return importlib.import_module("jittor")
        if _failure is not None:
            raise InputError(_failure)
        check_requirements()
        cache = jittor_cache()
        if (line := why_there(cache)) is not None:
            _tell(line)
        check_writable(cache)
        settings, gpu = choose_settings(cache)
        _why_no_gpu = gpu.why_not or _why_no_gpu
        if importlib.util.find_spec("torch") is not None:
            with suppress(Exception):  # a broken torch is for the torch backend to report
                importlib.import_module("torch")  # first: loaded after Jittor, its OpenMP crashes the process
        compiled = is_compiled(cache, settings["cache_name"], for_gpu=settings.get("nvcc_path") != "")
        try:
            with noted_for_this_run(cache) as home, _environment(settings | home), _process_kept(), _progress(compiled):
                jittor = importlib.import_module("jittor")
        except (Exception, SystemExit) as error:
            _failure = _failure_line(error)
            raise InputError(_failure) from error
        _end_compile_pool()
        return jittor


def gpu_usable() -> bool:
    """Whether Jittor can compute on a GPU in this process."""
    return bool(import_jittor().has_cuda)


def select_device(device: str | None) -> None:
    """Makes Jittor compute on "cpu" or "cuda" from here on, in the whole process; None leaves it as it is.

    Raises InputError for another name, or a GPU that Jittor cannot use.
    """
    if device is None:
        return
    if device not in ("cpu", "cuda"):
        raise InputError(f"unknown device {device!r}: choose cpu or cuda")
    if device == "cuda" and not gpu_usable():
        raise InputError(f"Jittor cannot use a GPU here: {_why_no_gpu}; choose the device cpu")
    import_jittor().flags.use_cuda = int(device == "cuda")


def check_requirements() -> None:
    """Raises InputError when a thing is missing without which Jittor's import fails."""
    if importlib.util.find_spec("jittor") is None:
        raise InputError("the jittor backend needs Jittor, which is not installed: pip install jittor")
    if int(np.__version__.split(".")[0]) >= 2:
        raise InputError(f"Jittor needs numpy below 2 and this is numpy {np.__version__}: pip install 'numpy<2'")
    if sys.platform != "linux":
        return
    if "cc_path" not in os.environ and shutil.which("g++") is None:
        raise InputError("Jittor needs the C++ compiler g++, which is not installed: apt install g++, or dnf install gcc-c++")
    if "python_config_path" not in os.environ and find_python_config() is None:
        version = f"python3.{sys.version_info.minor}"
        raise InputError(f"Jittor needs Python's headers, which are not installed: apt install {version}-dev")


def find_python_config() -> Path | None:
    """The `python3-config` of this Python: where Jittor looks itself, else beside the Python of this virtual environment."""
    name = f"python3.{sys.version_info.minor}-config"
    here, base = Path(sys.executable).parent, Path(sys.base_prefix) / "bin"
    jittors_own = [here / name, Path(f"{sys.executable}-config"), Path("/usr/bin") / name, Path("/usr/local/bin") / name]
    return next((path for path in [*jittors_own, here / "python3-config", base / name] if path.is_file()), None)


def choose_settings(cache: Path) -> tuple[dict[str, str], GpuChoice]:
    """The environment variables for Jittor's import, the user's own kept; says on stderr what makes it slower than it could be.

    Raises InputError when oneDNN cannot be put in place.
    """
    wanted = {
        "log_silent": "1",
        "cache_name": "default",  # else the git branch that is checked out: a change of branch would compile all anew
    }
    if python_config := find_python_config():
        wanted["python_config_path"] = str(python_config)
    gpu = GpuChoice(None, "nvcc_path is set by hand") if "nvcc_path" in os.environ else choose_gpu(cache)
    if gpu.nvcc_path is not None:
        wanted["nvcc_path"] = gpu.nvcc_path
    if gpu.surprising:
        _tell(f"Jittor runs on the CPU: {gpu.why_not}")
    for name, folder in DOWNLOADED_CUDA_PARTS.items():
        if not (cache / folder).is_dir():
            wanted[name] = "0"
    by_hand = {name: os.environ[name] for name in [*wanted, "nvcc_path", "use_mkl"] if name in os.environ}
    if by_hand.get("use_mkl", "1") == "1" and (lack := provide_onednn(cache)) is not None:
        wanted["use_mkl"] = "0"
        if "use_mkl" not in by_hand:
            _tell(lack)
    return wanted | by_hand, gpu


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """The settings in the environment for the import alone: Jittor reads them then, the user's child processes need not.

    PATH and LD_LIBRARY_PATH stay as Jittor leaves them: its own CUDA toolkit is found there later.
    """
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in ("cc_path", *settings):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def _process_kept() -> Iterator[None]:
    """Undoes what Jittor's import does to the whole process.

    It takes Ctrl-C (exit at once, no clean-up), exits when any child process is killed, turns off the checking of HTTPS
    certificates, and lifts Python's recursion limit so far that endless recursion becomes a crash.
    """
    https_context = ssl._create_default_https_context
    recursion_limit = sys.getrecursionlimit()
    c_library = ctypes.CDLL(None)  # signal.signal works in the main thread only and does not see faulthandler's handlers
    actions = {int(signal.Signals[name]): ctypes.create_string_buffer(256) for name in HANDLED_SIGNALS}
    for number, action in actions.items():
        c_library.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in actions.items():
            c_library.sigaction(number, action, None)
        sys.setrecursionlimit(recursion_limit)
        ssl._create_default_https_context = https_context


def _end_compile_pool() -> None:
    """Ends the worker processes that Jittor's import leaves running; Jittor makes new ones when it needs some."""
    utils = sys.modules["jittor_utils"]
    if utils.pool_size:
        utils.p.terminate()
        utils.p.join()
        atexit.unregister(utils.pool_cleanup)
        utils.pool_size = 0


@contextmanager
def _progress(compiled: bool) -> Iterator[None]:
    """At a terminal: says beforehand that Jittor will compile, and counts the time once an import takes long."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    if not compiled:
        _tell("the first run compiles Jittor, once; that takes a few minutes", kind="please wait")
    done = threading.Event()
    clock = threading.Thread(target=_count_time, args=(sys.stderr.fileno(), done), daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()


def _count_time(terminal: int, done: threading.Event, patience: float = 5.0, interval: float = 1.0) -> None:
    """Writes the minutes and seconds every second, past the first few; unbuffered, since Jittor forks meanwhile."""
    start = time.monotonic()
    end = b""
    while not done.wait(interval):
        seconds = int(time.monotonic() - start)
        if seconds >= patience:
            os.write(terminal, f"\rcompiling Jittor {seconds // 60}:{seconds % 60:02d}".encode())
            end = b"\n"
    os.write(terminal, end)


def _failure_line(error: BaseException) -> str:
    """One line for a failed import; Jittor exits when it has just rebuilt a part of itself."""
    if isinstance(error, SystemExit):
        return "Jittor has rebuilt itself and must start again: run the same command once more"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"Jittor cannot be imported ({type(error).__name__}: {reason[:200]}); log_silent=0 in the environment shows more"


def _tell(line: str, kind: str = "note") -> None:
    if sys.stderr is not None:
        print(f"{kind}: {line}", file=sys.stderr, flush=True)

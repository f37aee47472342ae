"""How Jittor's import is made ready: everything around it, and the import once, in a process of its own."""

import ctypes
import io
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from core import InputError
from jt_backend.start import runtime as start_runtime

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("nvcc_path", "use_mkl", "log_silent", "cache_name", "cc_path", "python_config_path")
SETTINGS += ("use_cutt", "use_cutlass", "use_nccl", "JITTOR_HOME")


@pytest.fixture
def runtime(monkeypatch, tmp_path) -> ModuleType:
    """The module as before its first import of Jittor, with an empty home and no settings by hand."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(start_runtime, "_failure", None)
    monkeypatch.setattr(start_runtime, "_why_no_gpu", "it was imported without one")
    return start_runtime


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / ".cache" / "jittor"


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self):
        return True

    def fileno(self):
        return 2


def test_missing_jittor(runtime, monkeypatch):
    monkeypatch.delitem(sys.modules, "jittor", raising=False)
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Jittor, which is not installed: pip install jittor$"):
        runtime.import_jittor()


@pytest.fixture
def jittor_installed(runtime, monkeypatch):
    """`find_spec` finds every package."""
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=f"/site/{name}"))
    monkeypatch.setattr(runtime, "is_compiled", lambda *args, **options: True)


def test_numpy_2(runtime, jittor_installed, monkeypatch):
    monkeypatch.setattr(np, "__version__", "2.1.3")
    with pytest.raises(InputError, match=r"Jittor needs numpy below 2 and this is numpy 2\.1\.3: pip install 'numpy<2'"):
        runtime.check_requirements()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other compilers")
def test_missing_compiler_and_headers(runtime, jittor_installed, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"C\+\+ compiler g\+\+, which is not installed: apt install g\+\+"):
        runtime.check_requirements()
    monkeypatch.setenv("cc_path", "/opt/g++-12")
    monkeypatch.setattr(runtime, "find_python_config", lambda: None)
    with pytest.raises(InputError, match=rf"Python's headers.*apt install python3\.{sys.version_info.minor}-dev"):
        runtime.check_requirements()
    monkeypatch.setenv("python_config_path", "/opt/python3-config")
    runtime.check_requirements()


def test_headers_of_the_python_behind_a_virtual_environment_are_found(runtime, monkeypatch, tmp_path):
    config = tmp_path / "bin" / f"python3.{sys.version_info.minor}-config"
    config.parent.mkdir()
    config.touch()
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(Path, "is_file", lambda path: str(path).startswith(str(tmp_path)))
    assert runtime.find_python_config() == config


def test_what_the_user_set_wins(runtime, cache, monkeypatch):
    by_hand = {"nvcc_path": "/my/nvcc", "use_mkl": "0", "log_silent": "0", "cache_name": "mine", "use_cutt": "1"}
    for name, value in by_hand.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime, "choose_gpu", lambda cache: pytest.fail("asked for a GPU"))
    monkeypatch.setattr(runtime, "provide_onednn", lambda cache: pytest.fail("copied oneDNN"))
    settings, _ = runtime.choose_settings(cache)
    assert by_hand.items() <= settings.items()


@pytest.mark.parametrize("by_hand", [None, "1"])
def test_lack_of_onednn_is_said_once(runtime, cache, monkeypatch, capsys, by_hand):
    if by_hand:
        monkeypatch.setenv("use_mkl", by_hand)
    monkeypatch.setattr(runtime, "choose_gpu", lambda cache: runtime.GpuChoice("", "no GPU"))
    monkeypatch.setattr(runtime, "provide_onednn", lambda cache: "15 times slower: pip install it")
    settings, _ = runtime.choose_settings(cache)
    assert settings["nvcc_path"] == "" and settings["log_silent"] == "1"
    assert settings["use_mkl"] == (by_hand or "0")
    assert capsys.readouterr() == ("", "" if by_hand else "note: 15 times slower: pip install it\n")


@pytest.mark.parametrize("surprising", [False, True])
def test_a_gpu_that_stays_idle_is_said(runtime, cache, monkeypatch, capsys, surprising):
    monkeypatch.setattr(runtime, "choose_gpu", lambda cache: runtime.GpuChoice("", "cudnn.h is missing", surprising))
    monkeypatch.setattr(runtime, "provide_onednn", lambda cache: None)
    runtime.choose_settings(cache)
    assert capsys.readouterr().err == ("note: Jittor runs on the CPU: cudnn.h is missing\n" if surprising else "")


def test_environment_is_as_before_after_the_import(runtime, monkeypatch):
    monkeypatch.setenv("log_silent", "0")
    before = dict(os.environ)
    with pytest.raises(RuntimeError), runtime._environment({"nvcc_path": "", "log_silent": "1", "cache_name": "default"}):
        assert {"nvcc_path": "", "log_silent": "1"}.items() <= os.environ.items()
        os.environ.update(cc_path="/usr/bin/g++")  # as Jittor does
        raise RuntimeError
    assert dict(os.environ) == before


def test_process_is_as_before_after_the_import(runtime):
    def handler(number, frame):
        received.append(number)

    received: list[int] = []
    usual, limit, context = signal.signal(signal.SIGCHLD, handler), sys.getrecursionlimit(), ssl._create_default_https_context
    try:
        with runtime._process_kept():
            ctypes.CDLL(None).signal(int(signal.SIGCHLD), None)  # behind Python's back, as Jittor does
            sys.setrecursionlimit(10**6)
            ssl._create_default_https_context = ssl._create_unverified_context
        signal.raise_signal(signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, usual)
    assert received == [signal.SIGCHLD]
    assert (sys.getrecursionlimit(), ssl._create_default_https_context) == (limit, context)


# The message


@pytest.mark.parametrize(("stream", "compiled", "lines"), [(Terminal, False, 1), (Terminal, True, 0), (io.StringIO, False, 0)])
def test_compiling_is_announced_at_a_terminal_when_it_will_happen(runtime, monkeypatch, stream, compiled, lines):
    monkeypatch.setattr(sys, "stderr", stream())
    with runtime._progress(compiled):
        announced = sys.stderr.getvalue()
    assert announced.count("\n") == lines and ("compiles Jittor" in announced) == bool(lines)
    assert sys.stderr.getvalue() == announced


def test_time_is_counted_while_it_lasts(runtime):
    seen, terminal = os.pipe()
    done = threading.Event()
    clock = threading.Thread(target=runtime._count_time, args=(terminal, done, 0.0, 0.01))
    clock.start()
    assert os.read(seen, 100).startswith(b"\rcompiling Jittor 0:00")
    done.set()
    clock.join()
    os.close(terminal)
    os.close(seen)


# The import


@pytest.fixture
def imports(runtime, jittor_installed, monkeypatch) -> list[str]:
    """Puts a stand-in in the place of the imports, which notes their names in order."""
    monkeypatch.delitem(sys.modules, "jittor", raising=False)
    names: list[str] = []
    jittor = SimpleNamespace(flags=SimpleNamespace(use_cuda=0), has_cuda=0)

    def note(name):
        names.append(name)
        if name == "jittor":
            time.sleep(0.02)
            monkeypatch.setitem(sys.modules, "jittor", jittor)
            return jittor

    monkeypatch.setattr(runtime.importlib, "import_module", note)
    monkeypatch.setattr(runtime, "check_requirements", lambda: None)
    choice = runtime.GpuChoice("", "no NVIDIA driver counts a GPU")
    monkeypatch.setattr(runtime, "choose_settings", lambda cache: ({"cache_name": "default"}, choice))
    monkeypatch.setattr(runtime, "_end_compile_pool", lambda: None)
    return names


def test_torch_comes_before_jittor(runtime, imports):
    runtime.import_jittor()
    assert imports == ["torch", "jittor"]


def test_jittor_imported_before_is_left_alone(runtime, imports, monkeypatch):
    monkeypatch.setitem(sys.modules, "jittor", SimpleNamespace())
    monkeypatch.setattr(runtime, "choose_settings", lambda cache: pytest.fail("prepared"))
    runtime.import_jittor()
    assert imports == ["jittor"]


def test_many_threads_import_once(runtime, imports):
    threads = [threading.Thread(target=runtime.import_jittor) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert imports.count("torch") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("\nRun cmd failed: g++\nmore\nlines"), r"Jittor cannot be imported \(RuntimeError: Run cmd failed"),
        (SystemExit(0), "Jittor has rebuilt itself and must start again: run the same command once more"),
    ],
)
def test_a_failed_import_gives_the_same_line_again(runtime, imports, monkeypatch, error, line):
    tried = []

    def fail(name):
        tried.append(name)
        if name == "jittor":
            raise error

    monkeypatch.setattr(runtime.importlib, "import_module", fail)
    lines = []
    for _ in range(2):
        with pytest.raises(InputError, match=line) as caught:
            runtime.import_jittor()
        lines.append(str(caught.value))
    assert lines[0] == lines[1] and "\n" not in lines[0]
    assert tried.count("jittor") == 1


def test_devices(runtime, imports):
    runtime.select_device(None)
    assert imports == []
    with pytest.raises(InputError, match="unknown device 'mps': choose cpu or cuda"):
        runtime.select_device("mps")
    with pytest.raises(InputError, match="Jittor cannot use a GPU here: no NVIDIA driver counts a GPU; choose the device cpu"):
        runtime.select_device("cuda")
    jittor = runtime.import_jittor()
    jittor.has_cuda = 1
    runtime.select_device("cuda")
    assert jittor.flags.use_cuda == 1
    runtime.select_device("cpu")
    assert jittor.flags.use_cuda == 0


IMPORT = """
import os, signal, ssl, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
before, limit, context = dict(os.environ), sys.getrecursionlimit(), ssl._create_default_https_context
from jt_backend.jittor import jt
from jt_backend.start import runtime
from jt_backend.start.cache_folder import is_compiled, jittor_cache
assert jt.array([1.0, 2.0]).numpy().tolist() == [1.0, 2.0]
assert not jt.compile_extern.has_cuda and not runtime.gpu_usable()
assert jt.flags.cache_path.startswith(str(jittor_cache())) and is_compiled(jittor_cache(), "default", for_gpu=False)
assert dict(os.environ) == before
assert (sys.getrecursionlimit(), ssl._create_default_https_context) == (limit, context)
assert not open(f"/proc/self/task/{os.getpid()}/children").read()
child = subprocess.Popen(["sleep", "60"])
child.kill()
child.wait()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_import_beside_an_nvcc_without_a_gpu_is_quiet_and_leaves_the_process_as_it_was(tmp_path):
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.48'\n")
    nvcc.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")

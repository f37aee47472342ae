"""Whether a GPU is chosen for Jittor, by drivers and CUDA toolkits that are stand-ins."""

import ctypes
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from jt_backend.start import cuda


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def toolkit(tmp_path) -> Path:
    """A CUDA 12 toolkit's files, empty, around a compiler that knows its version; gives the compiler."""
    root = tmp_path / "cuda"
    for folder in ("bin", "lib64", "include"):
        (root / folder).mkdir(parents=True)
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.2, V12.2.140'\n")
    nvcc.chmod(0o755)
    names = ("cublas", "cudnn", "curand", "cufft", "cusparse")
    cudnn_8 = ("cudnn_ops_infer", "cudnn_ops_train", "cudnn_cnn_infer", "cudnn_cnn_train")
    for name in names:
        (root / "include" / f"{name}.h").touch()
    for name in ("cudart", *names, *cudnn_8):
        (root / "lib64" / f"lib{name}.so").touch()
    return nvcc


@pytest.fixture
def only_this_toolkit(toolkit, monkeypatch) -> Path:
    """No CUDA of this machine is seen."""
    monkeypatch.setattr(cuda, "SYSTEM_HEADERS", toolkit.parent / "none")
    monkeypatch.setattr(cuda, "SYSTEM_LIBRARIES", ())
    monkeypatch.setattr(cuda, "USUAL_COMPILERS", ())
    return toolkit


def test_toolkit_with_all_parts_will_do(only_this_toolkit):
    assert cuda.compiler_version(only_this_toolkit) == 12
    assert cuda.missing_part(only_this_toolkit) is None


@pytest.mark.parametrize("part", ["libcudart.so", "cudnn.h", "cufft.h", "libcusparse.so", "libcudnn_ops_infer.so"])
def test_missing_part_of_the_toolkit_is_named(only_this_toolkit, part):
    folder = "include" if part.endswith(".h") else "lib64"
    (only_this_toolkit.parents[1] / folder / part).unlink()
    assert cuda.missing_part(only_this_toolkit) == part


def test_compiler_that_does_not_run(only_this_toolkit):
    only_this_toolkit.write_text("#!/bin/sh\nexit 1\n")
    assert cuda.missing_part(only_this_toolkit) == "a compiler that runs"


@pytest.mark.parametrize("n_gpus", [0, 1])
@pytest.mark.parametrize("state", ["no compiler", "whole", "cudnn missing"])
def test_gpu_is_chosen_only_where_it_can_be_used(only_this_toolkit, cache, monkeypatch, n_gpus, state):
    monkeypatch.setattr(cuda, "count_gpus", lambda: n_gpus)
    monkeypatch.setenv("PATH", "/nowhere" if state == "no compiler" else str(only_this_toolkit.parent), prepend=os.pathsep)
    if state == "no compiler":
        monkeypatch.setenv("PATH", "/nowhere")
    if state == "cudnn missing":
        (only_this_toolkit.parents[1] / "include" / "cudnn.h").unlink()
    choice = cuda.choose_gpu(cache)
    if n_gpus and state == "whole":
        assert choice == (str(only_this_toolkit), None, False)
    else:
        assert choice.nvcc_path == ""
        assert choice.surprising == bool(n_gpus)
        reasons = {"no compiler": "install the CUDA toolkit", "cudnn missing": r"cudnn.h is missing"}
        assert (reasons[state] if n_gpus else "no NVIDIA driver") in choice.why_not


def test_a_later_toolkit_is_taken_when_the_first_is_not_whole(only_this_toolkit, cache, monkeypatch, tmp_path):
    wrapper = tmp_path / "wrapper" / "nvcc"
    wrapper.parent.mkdir()
    shutil.copy(only_this_toolkit, wrapper)
    monkeypatch.setattr(cuda, "count_gpus", lambda: 1)
    monkeypatch.setattr(cuda, "USUAL_COMPILERS", (str(only_this_toolkit),))
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    assert cuda.choose_gpu(cache).nvcc_path == str(only_this_toolkit)


def test_jittors_own_toolkit_is_left_to_jittor(cache, monkeypatch):
    (cache / "jtcuda").mkdir(parents=True)
    monkeypatch.setattr(cuda, "count_gpus", lambda: 1)
    assert cuda.choose_gpu(cache).nvcc_path is None


@pytest.mark.parametrize(("init", "counted", "expected"), [(0, 2, 2), (0, 0, 0), (100, 2, 0)])
def test_gpus_are_counted_by_the_driver(monkeypatch, init, counted, expected):
    def count(reference):
        reference._obj.value = counted
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: init, cuDeviceGetCount=count)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda.count_gpus() == expected


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def fail(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert cuda.count_gpus() == 0

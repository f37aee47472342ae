"""How oneDNN is put where Jittor looks for it, by stand-ins for its packages of a few hundred bytes."""

import errno
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import InputError
from jt_backend.start import onednn

on_x86_linux = pytest.mark.skipif(
    (sys.platform, os.uname().machine) != ("linux", "x86_64"), reason="oneDNN's packages are for x86-64 Linux"
)


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def library(n_bytes: int = 400) -> bytes:
    """An ELF file in miniature: a header that says where its section table ends, which is the end of the file."""
    header = bytearray(n_bytes)
    header[:4] = b"\x7fELF"
    struct.pack_into("<Q", header, 40, n_bytes - 128)
    struct.pack_into("<HH", header, 58, 64, 2)
    return bytes(header)


@pytest.fixture
def packages(tmp_path, monkeypatch) -> Path:
    """Stand-ins for the two packages as pip unpacks them; gives the environment's folder."""
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    contents = {
        "onednn-cpu-gomp": {f"../../{name}": library() for name in ("libdnnl.so.2", "libmkldnn.so", "libmkldnn.so.2.2")},
        "onednn-devel-cpu-gomp": {
            "../../../include/mkldnn.hpp": b"// header",
            "../../../include/oneapi/dnnl/dnnl.hpp": b"// the other header",
            "../../cmake/dnnl/dnnl-config.cmake": b"# not wanted",
        },
    }
    for package, files in contents.items():
        info = site / f"{package.replace('-', '_')}-2021.2.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2021.2.0\n")
        (info / "RECORD").write_text("".join(f"{name},sha256=h{len(data)},{len(data)}\n" for name, data in files.items()))
        for name, data in files.items():
            path = Path(os.path.normpath(site / name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    monkeypatch.syspath_prepend(str(site))
    return tmp_path / "env"


@on_x86_linux
def test_onednn_is_copied_once_and_stands_alone(packages, cache):
    assert onednn.provide_onednn(cache) is None
    shutil.rmtree(packages)
    target = cache / "mkl" / "dnnl_lnx_2.2.0_cpu_gomp"
    assert {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()} == {
        "include/mkldnn.hpp", "include/oneapi/dnnl/dnnl.hpp", "lib/libdnnl.so.2", "lib/libmkldnn.so", "lib/libmkldnn.so.2.2",
    }
    assert all(path.read_bytes() == library() for path in (target / "lib").iterdir())
    assert sum(not path.is_symlink() for path in (target / "lib").iterdir()) == 1
    assert sorted(os.listdir(cache / "mkl")) == [".onednn.lock", target.name]


@on_x86_linux
@pytest.mark.parametrize("fault", ["no header", "library cut short", "library empty", "nothing"])
def test_a_half_made_folder_is_replaced(packages, cache, fault):
    target = cache / "mkl" / onednn.FOLDER
    (target / "lib").mkdir(parents=True)
    (target / "include").mkdir()
    if fault != "no header":
        (target / "include" / "mkldnn.hpp").touch()
    if fault != "nothing":
        content = {"no header": library(), "library cut short": library()[:-1], "library empty": b""}[fault]
        (target / "lib" / "libmkldnn.so").write_bytes(content)
    assert not onednn.is_complete(target)
    assert onednn.provide_onednn(cache) is None
    assert onednn.is_complete(target)
    assert sorted(os.listdir(cache / "mkl")) == [".onednn.lock", target.name]


@on_x86_linux
def test_a_complete_folder_is_left_alone(packages, cache):
    target = cache / "mkl" / onednn.FOLDER
    (target / "lib").mkdir(parents=True)
    (target / "include").mkdir()
    (target / "include" / "mkldnn.hpp").write_text("// the user's own")
    (target / "lib" / "libmkldnn.so").write_bytes(library(1000))
    assert onednn.provide_onednn(cache) is None
    assert (target / "include" / "mkldnn.hpp").read_text() == "// the user's own"


@on_x86_linux
def test_absent_or_other_packages_give_the_command_that_helps(packages, cache, monkeypatch):
    advice = "15 times slower: pip install onednn-cpu-gomp==2021.2.0 onednn-devel-cpu-gomp==2021.2.0"
    (packages / "lib" / "libmkldnn.so").unlink()
    assert onednn.provide_onednn(cache).endswith(advice)
    info = next(packages.rglob("onednn_cpu*.dist-info"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onednn-cpu-gomp\nVersion: 2022.0.1\n")
    assert onednn.provide_onednn(cache).endswith(advice)
    assert not (cache / "mkl").exists()


def test_other_machines_are_told_the_cost_alone(cache, monkeypatch):
    monkeypatch.setattr(onednn.platform, "machine", lambda: "aarch64")
    line = onednn.provide_onednn(cache)
    assert "15 times slower" in line and "pip install" not in line
    (cache / "mkl" / "dnnl_lnx_2.2.0_cpu_gomp_aarch64" / "lib").mkdir(parents=True)
    (cache / "mkl" / "dnnl_lnx_2.2.0_cpu_gomp_aarch64" / "lib" / "libmkldnn.so").touch()
    assert onednn.provide_onednn(cache) is None


@on_x86_linux
def test_a_full_disk_leaves_nothing_behind(packages, cache, monkeypatch):
    def fill(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(onednn.shutil, "copyfile", fill)
    with pytest.raises(InputError, match="No space left on device") as caught:
        onednn.provide_onednn(cache)
    assert "\n" not in str(caught.value)
    assert os.listdir(cache / "mkl") == [".onednn.lock"]


COPY_SLOWLY = """
import sys, time
from pathlib import Path
from jt_backend.start import onednn
cache = Path(sys.argv[1])
def slow_copy(source, target, copy=onednn.shutil.copyfile):
    print("copied", flush=True)
    time.sleep(0.1)
    return copy(source, target)
onednn.shutil.copyfile = slow_copy
print("ready", flush=True)
sys.stdin.readline()
assert onednn.provide_onednn(cache) is None
assert onednn.is_complete(cache / "mkl" / onednn.FOLDER)
"""


@on_x86_linux
def test_two_processes_at_once_copy_it_once_and_show_no_half(packages, cache):
    target = cache / "mkl" / onednn.FOLDER
    (target / "lib").mkdir(parents=True)  # what an interrupted download leaves
    site = next(packages.rglob("site-packages"))
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, site)))}
    command = [sys.executable, "-c", COPY_SLOWLY, str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    while any(process.poll() is None for process in processes):
        assert {name for name in os.listdir(target.parent) if name.startswith("dnnl")} <= {onednn.FOLDER}  # Jittor takes any
        if (target / "include").exists():
            assert onednn.is_complete(target)
        time.sleep(0.005)
    copies = [process.communicate()[0].count("copied") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(copies) == [0, 3]  # one library, two headers, by one of the two

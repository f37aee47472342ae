"""The backends mirror `core`: the same files, names and signatures; and nothing heavy is imported early."""

import inspect
import subprocess
import sys

import pytest

import core
from core.backends import PACKAGES, PRIMITIVE_MODULES, public_functions


def functions(backend, module):
    found = public_functions(pytest.importorskip(f"{PACKAGES[backend]}.{module}"))
    helpers = ("check_", "bilinear_taps", "bilinear_matrix", "bicubic_matri")
    return {name: function for name, function in found.items() if not name.startswith(helpers)}


@pytest.mark.parametrize("module", PRIMITIVE_MODULES)
@pytest.mark.parametrize("backend", ["torch", "jittor"])
def test_names_and_signatures_are_equal(backend, module):
    reference, mirror = functions("numpy", module), functions(backend, module)
    assert set(mirror) == set(reference)
    for name, function in reference.items():
        theirs = inspect.signature(mirror[name])
        mine = inspect.signature(function)
        assert [(p.name, p.default, p.kind) for p in theirs.parameters.values()] == [
            (p.name, p.default, p.kind) for p in mine.parameters.values()
        ], name


@pytest.mark.parametrize("module", PRIMITIVE_MODULES)
def test_every_primitive_is_documented_in_core(module):
    for name, function in functions("numpy", module).items():
        assert function.__doc__, f"core.{module}.{name} has no docstring"


def imported(code, *modules):
    script = f"{code}\nimport sys\nprint([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_importing_core_imports_numpy_and_nothing_heavier():
    heavy = ("torch", "jittor", "PIL", "open_clip", "scipy", "safetensors", "tqdm", "jt_backend", "torch_backend")
    assert imported("import core", *heavy) == "[]"


def test_the_numpy_backend_imports_no_framework():
    assert imported("import core; core.load_backend('numpy')", "torch", "jittor", "PIL") == "[]"


def test_the_torch_backend_imports_no_jittor_and_no_open_clip():
    pytest.importorskip("torch")
    assert imported("import core; core.load_backend('torch')", "jittor", "open_clip") == "[]"


def test_an_absent_framework_says_how_to_install_it():
    code = """import sys; sys.modules['torch'] = None; import core
try: core.load_backend('torch')
except core.InputError as e: print(e)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install torch" in done.stdout


def test_unknown_names_are_told():
    with pytest.raises(core.InputError, match="numpy, torch, jittor"):
        core.load_backend("tensorflow")
    with pytest.raises(core.InputError, match="naclip"):
        core.method_options("dinoclip")

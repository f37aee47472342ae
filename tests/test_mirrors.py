"""The backends mirror `core`: the same files, names and signatures; and nothing heavy is imported early."""

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import core
from core.backends import PACKAGES, PROVIDERS, written_once
from core.primitives import FILES

CORE = Path(core.__file__).parent
OTHERS = {"torch_backend", "jt_backend"}


def declared(package, file):
    """Name -> function, of what a file of primitives declares."""
    module = importlib.import_module(f"{package}.primitives.{file}")
    return {name: getattr(module, name) for name in module.__all__}


def contract(file, once):
    """The contract's primitives of a file that are written once, or that are mirrored."""
    return {name: function for name, function in declared("core", file).items() if written_once(function) is once}


MIRRORED = [file for file in FILES if contract(file, once=False)]


def parameters(function):
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("file", MIRRORED)
def test_a_mirror_declares_the_contract_s_names_with_their_signatures(mirror, file):
    reference, mirrored = contract(file, once=False), declared(PACKAGES[mirror.name], file)
    assert sorted(mirrored) == sorted(reference)
    for name, function in reference.items():
        assert parameters(mirrored[name]) == parameters(function), name


@pytest.mark.parametrize("package", PACKAGES.values())
def test_a_backend_has_no_other_files_of_primitives(package):
    folder = CORE.parent / package / "primitives"
    helpers = {"__init__"} | ({"chunks"} if package == "core" else set())
    found = {path.stem for path in folder.glob("*.py")} - helpers
    assert found == set(FILES if package == "core" else MIRRORED)


@pytest.mark.parametrize("file", FILES)
def test_a_file_declares_what_it_defines_and_nothing_twice(file):
    functions = declared("core", file)
    assert functions and all(function.__module__ == f"core.primitives.{file}" for function in functions.values())
    elsewhere = {name for other in FILES if other != file for name in declared("core", other)}
    assert not functions.keys() & elsewhere


def test_a_namespace_is_what_the_contract_declares(ops):
    names = {name for file in FILES for name in declared("core", file)}
    assert {name for name in dir(ops) if not name.startswith("_")} == names | {"name"}


@pytest.mark.parametrize("file", FILES)
def test_help_on_a_primitive_shows_the_contract_s_docstring_and_signature(ops, file):
    for name, function in declared("core", file).items():
        primitive, shown = getattr(ops, name), parameters(function)
        assert function.__doc__ and inspect.getdoc(primitive).startswith(inspect.getdoc(function)), name
        assert parameters(primitive) == (shown[1:] if written_once(function) else shown), name
        page = pydoc.plain(pydoc.render_doc(primitive))
        assert " ".join(inspect.getdoc(function).split()) in " ".join(page.split()), name


def test_what_a_mirror_does_otherwise_stands_behind_the_contract_s_docstring(torch):
    for name in ("argmax", "select_device"):
        said, own = inspect.getdoc(getattr(core.load_backend("numpy"), name)), inspect.getdoc(getattr(torch, name))
        assert own.startswith(f"{said}\n\nOn torch: ") and own.count("On torch: ") == 1


def imported(code, *modules):
    script = f"{code}\nimport sys\nprint([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def named_by_imports(path):
    """The top-level packages that the import statements of a file name, wherever they stand in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def named_as_strings(path):
    """The packages that whole strings of a file name, as `importlib` would be given them."""
    strings = (n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant))
    return {text.split(".")[0] for text in strings if isinstance(text, str) and " " not in text} & OTHERS


def test_core_names_the_other_packages_in_one_table_alone():
    files = sorted(CORE.rglob("*.py"))
    assert len(files) > 50
    assert [path for path in files if OTHERS & set(named_by_imports(path))] == []
    assert {path.relative_to(CORE).as_posix(): named_as_strings(path) for path in files if named_as_strings(path)} == {
        "backends.py": {*PACKAGES.values(), *(module.split(".")[0] for module, _ in PROVIDERS.values())} - {"core"},
    }  # fmt: skip


def test_an_import_hidden_in_a_function_would_be_found(tmp_path):
    hidden = tmp_path / "hidden.py"
    hidden.write_text("def f():\n    from torch_backend.clip import tower\n    import os, jt_backend.start\n    return tower\n")
    assert set(named_by_imports(hidden)) == {"torch_backend", "os", "jt_backend"}
    hidden.write_text('NAME = "torch_backend.clip.tower"\nSAYS = "torch_backend is one"\n')
    assert named_as_strings(hidden) == {"torch_backend"}


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

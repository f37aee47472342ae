"""Jittor is imported in one place, and asking about it does not import it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("core", "jt_backend", "torch_backend", "scripts")


def sources() -> dict[str, ast.Module]:
    files = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in [*files, ROOT / "setup.py"]}


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports, or a call of `import_module` or `__import__`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""] if node.level == 0 else []
    if isinstance(node, ast.Call) and named(node.func) in ("import_module", "__import__"):
        return [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return []


def named(function: ast.AST) -> str | None:
    return getattr(function, "attr", getattr(function, "id", None))


def modules_after(statement: str, home: Path) -> set[str]:
    """The modules of a new process, with an empty home, after a statement."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(home), "JITTOR_HOME": str(home)}
    command = [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing(tmp_path):
    modules = modules_after("import jt_backend", tmp_path)
    assert {name for name in modules if name.split(".")[0] in ("jt_backend", "core", "numpy")} == {"jt_backend"}
    assert not {"jittor", "jittor_utils", "torch"} & modules


def test_asking_about_jittor_neither_imports_nor_compiles_it(tmp_path):
    files = sorted(f"jt_backend.start.{path.stem}" for path in (ROOT / "jt_backend" / "start").glob("[!_]*.py"))
    modules = modules_after(f"import {', '.join(files)}", tmp_path)
    assert len(files) >= 4 and modules >= set(files)
    assert not {"jittor", "jittor_utils", "torch"} & modules
    assert list(tmp_path.iterdir()) == []


def test_jittor_is_imported_in_one_place():
    trees = sources()
    importing = {
        path
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if any(module.split(".")[0] == "jittor" for module in imported(node))
    }
    calling = {
        path
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and named(node.func) == "import_jittor"
    }
    assert importing == {"jt_backend/start/runtime.py"}
    assert calling == {"jt_backend/jittor.py", "jt_backend/start/runtime.py"}

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


def test_asking_about_jittor_does_not_import_it():
    modules = ", ".join(f"jt_backend.start.{name}" for name in ("runtime", "cuda", "onednn", "cache_folder"))
    script = f"import jt_backend, {modules}, sys; print([name for name in ('jittor', 'torch') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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

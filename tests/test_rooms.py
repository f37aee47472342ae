"""The direction of imports, as .importlinter has it: it holds, and each contract would be told if it were broken."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "torch_backend", "jt_backend")
BROKEN = [
    ("rooms", "core/clip/view.py", "import core.methods.registry"),
    ("results", "core/files/cache.py", "import core.results.colours"),
    ("no-methods", "core/scenes/vocabulary.py", "import core.methods.compose"),
    ("core-names-no-backend", "core/segment/segmenter.py", "def late():\n    import torch_backend.device"),
    ("backends-know-contracts", "torch_backend/device.py", "import core.segment.settings"),
    ("backends-apart", "jt_backend/primitives/links.py", "import torch_backend.device"),
    ("one-door-to-jittor", "jt_backend/kernels/header.py", "import jittor"),
    ("no-circles", "core/explain/look.py", "import core.explain.sheets"),
]
"""A contract, and a line that breaks it in a file."""


def contracts():
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    prefix = "importlinter:contract:"
    return {name.removeprefix(prefix): parser[name]["name"] for name in parser.sections() if name.startswith(prefix)}


def lint(folder):
    pytest.importorskip("importlinter")
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    return subprocess.run([sys.executable, "-c", code, "--no-cache"], capture_output=True, text=True, cwd=folder)


def test_every_contract_holds():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(contracts())} kept, 0 broken." in done.stdout


def test_every_contract_is_tried_here():
    assert [name for name, _, _ in BROKEN] == list(contracts())


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "file", "line"), BROKEN)
def test_a_broken_contract_is_told(tmp_path, contract, file, line):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    target = tmp_path / file
    target.write_text(f"{target.read_text()}\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and f"{contracts()[contract]} BROKEN" in done.stdout, done.stdout

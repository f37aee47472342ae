"""The commands and the scripts called in the test's own process."""

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def load_command(name: str) -> ModuleType:
    """The command NAME, whose door is scripts/NAME.py."""
    return importlib.import_module(f"core.commands.{name}")


@cache
def load_script(name: str) -> ModuleType:
    """scripts/NAME.py as a module."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(f"{name}_command", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command: ModuleType, capsys: pytest.CaptureFixture, *argv: str) -> SimpleNamespace:
    """The command's exit code and what it printed."""
    try:
        code = command.main(argv)
    except SystemExit as left:
        code = left.code
    captured = capsys.readouterr()
    return SimpleNamespace(code=code, out=captured.out, err=captured.err)

"""The main job as a user runs it: the demo, the command on the bundled scenes, and the two shell scripts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import backend_or_skip
from PIL import Image

from core.evaluation.metrics import object_iou

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "scripts" / "pictures"
SCENES = json.loads((PICTURES / "scenes.json").read_text(encoding="utf-8"))


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("backend", ["jittor", "torch", "numpy"])
def test_the_demo_segments_the_bundled_pictures(tmp_path, backend):
    backend_or_skip(backend)
    done = run(sys.executable, ROOT / "scripts" / "demo.py", "--backend", backend, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (mean,) = re.findall(r"over 6 pictures: ([\d.]+)", done.stdout)
    assert float(mean) > 0.8
    for name, scene in SCENES.items():
        assert f"{name}.png" in done.stdout
        assert all((tmp_path / f"{name}{end}").is_file() for end in ("_overlay.png", "_labels.png", ".json"))
        assert all(phrase in done.stdout for phrase in scene["classes"])


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_command_finds_the_objects_of_a_bundled_scene(tmp_path, name):
    """On Jittor, the default backend, with the labels read back from the PNG."""
    backend_or_skip("jittor")
    scene = SCENES[name]
    command = [sys.executable, ROOT / "scripts" / "segment.py", PICTURES / f"{name}.png", "--out", tmp_path]
    done = run(*command, "--classes", *scene["classes"])
    assert done.returncode == 0, done.stderr
    labels = np.asarray(Image.open(tmp_path / f"{name}_labels.png"))
    truth = np.asarray(Image.open(PICTURES / f"{name}_truth.png"))
    assert object_iou(labels, truth, len(scene["objects"])) > 0.6
    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert record["configuration"]["backend"] == "jittor"
    assert record["configuration"]["method"] == "naclip"


@pytest.mark.parametrize("script", ["demo.sh", "test.sh", "setup.sh"])
def test_the_shell_scripts_parse_and_readme_names_them(script):
    assert run("bash", "-n", ROOT / "scripts" / script).returncode == 0
    if script != "setup.sh":
        assert f"bash scripts/{script}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_paths_that_readme_names_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:core|torch_backend|jt_backend|scripts|tests)/[\w./]*\w", text))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("hidden", "says"), [("g++", "apt install g++"), ("python", "Python 3.10, 3.11 or 3.12 is needed")])
def test_set_up_tells_what_the_machine_lacks(tmp_path, hidden, says):
    """The set-up in a copy of the project, on a machine with only the named tools."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    for path in ("scripts/setup.sh", "setup.py"):
        (tmp_path / path).write_text((ROOT / path).read_text())
    tools = ["bash", "cat", "sha256sum", "cut", "dirname", "touch"] + (["g++"] if hidden != "g++" else [])
    for tool in tools:
        found = run("which", tool).stdout.strip()
        if found:
            (tmp_path / "bin" / tool).symlink_to(found)
    environment = {"PATH": str(tmp_path / "bin"), "HOME": os.environ.get("HOME", "/")}
    done = run("bash", "-c", f'source "{tmp_path}/scripts/setup.sh"; prepare .', env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


def test_a_second_set_up_does_nothing(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv").mkdir()
    for path in ("scripts/setup.sh", "setup.py"):
        (tmp_path / path).write_text((ROOT / path).read_text())
    stamp = run("bash", "-c", f"printf . | cat - {tmp_path}/setup.py | sha256sum | cut -c1-16").stdout.strip()
    (tmp_path / ".venv" / f".installed-{stamp}").touch()
    done = run("bash", "-c", f'source "{tmp_path}/scripts/setup.sh"; prepare . && echo ready')
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr

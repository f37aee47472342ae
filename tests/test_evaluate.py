"""The evaluation on the scenes: its measure by hand, and that the command reports what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from evaluate import object_iou  # noqa: E402  (a script's module, found through the line above)


def run(*arguments):
    command = [sys.executable, str(SCRIPTS / "evaluate.py"), *map(str, arguments)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # spinning threads crawl where tests run side by side
    return subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)


def test_object_iou_by_hand():
    truth = np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
    labels = np.array([[0, 0, 0, 1], [0, 3, 2, 2]])
    assert object_iou(truth, truth, 2) == 1
    assert object_iou(labels, truth, 2) == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert object_iou(labels, truth, 1) == pytest.approx(3 / 5)


def test_an_object_that_is_not_in_the_picture_does_not_count():
    truth = np.array([[0, 0, 2, 2]])
    assert object_iou(np.array([[0, 1, 2, 2]]), truth, 2) == pytest.approx(1 / 2)


def test_the_embedded_model_segments_fresh_scenes_and_vanilla_does_not(tmp_path):
    result = run("--limit", 6, "--seed", 4, "--backend", "torch", "--json", tmp_path / "figures.json")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "figures.json").read_text())
    figures = record["figures"]
    assert (record["seed"], record["limit"], record["backend"]) == (4, 6, "torch")
    for pairs in ("seen", "held_out"):
        assert figures["naclip + PAMR"][pairs] > 0.5
        assert figures["vanilla"][pairs] < 0.1
    assert figures["accuracy"]["seen"] > 0.75
    assert f"{100 * figures['naclip']['seen']:.1f}" in result.stdout


@pytest.mark.parametrize("arguments", [("--limit", 0), ("--seed", -1)])
def test_numbers_out_of_range_are_one_line_and_exit_code_2(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1

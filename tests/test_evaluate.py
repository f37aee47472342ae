"""The evaluation on the scenes: its measure by hand, that the command reports what it measured, and the search."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import backend_or_skip

from core import Segmenter
from core.evaluation import scenes, search
from core.scenes import benchmark_scenes
from core.scenes.scoring import object_iou

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import evaluate  # noqa: E402  (a script's module, found through the line above)


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
    assert list(figures) == [*scenes.ROWS, "accuracy"]
    for pairs in ("seen", "held_out"):
        assert figures["naclip + PAMR"][pairs] > 0.5
        assert figures["vanilla"][pairs] < 0.1
    assert figures["accuracy"]["seen"] > 0.75
    assert f"{100 * figures['naclip']['seen']:.1f}" in result.stdout
    configuration = record["configurations"]["naclip + PAMR"]
    assert configuration["weights_sha256"] in result.stdout and configuration["pamr"] is not None
    assert configuration["dtype"] == "float32" and configuration["versions"]["torch"] in result.stdout


def test_a_row_is_the_mean_over_fresh_scenes_each_segmented_alone():
    rows = {name: scenes.ROWS[name] for name in ("sfp", "naclip + PAMR", "fsa, self")}
    figures = scenes.measure(scenes.make_segmenters("torch", rows, Segmenter), seed=7, limit=3)
    for name, own in rows.items():
        segmenter = Segmenter(backend="torch", **own)
        for kind in ("seen", "held_out"):
            alone = [
                object_iou(segmenter(s.image, s.classes).labels, s.labels, s.n_objects) for s in benchmark_scenes(7, 3, kind)
            ]
            assert figures[name][kind] == pytest.approx(np.mean(alone))


def test_one_method_with_its_options(tmp_path, capsys):
    arguments = ["--method", "clearclip+neighbourhood", "--option", "gaussian_std=1", "--pamr", "--limit", "2", "--seed", "3",
                 "--backend", "torch", "--json", str(tmp_path / "figures.json")]  # fmt: skip
    assert evaluate.main(arguments) == 0
    record = json.loads((tmp_path / "figures.json").read_text())
    assert list(record["figures"]) == ["clearclip+neighbourhood", "accuracy"]
    configuration = record["configurations"]["clearclip+neighbourhood"]
    assert configuration["options"] == {"gaussian_std": 1} and configuration["pamr"]
    assert "clearclip+neighbourhood with PAMR, gaussian_std 1" in capsys.readouterr().out


def test_several_backends_stand_side_by_side(tmp_path, capsys):
    backend_or_skip("jittor")
    arguments = ["--method", "naclip", "--limit", "2", "--seed", "3", "--backend", "torch", "jittor", "--markdown"]
    assert evaluate.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    record = json.loads((tmp_path / "figures.json").read_text())
    figures = record["figures"]
    assert record["backend"] == list(figures) == ["torch", "jittor"]
    for pairs in ("seen", "held_out"):  # a pixel or two may tie
        assert figures["torch"]["naclip"][pairs] == pytest.approx(figures["jittor"]["naclip"][pairs], abs=2e-3)
    out = capsys.readouterr().out
    assert "| | torch, seen | torch, held out | jittor, seen | jittor, held out |\n|---|---|---|---|---|\n| naclip | " in out
    assert record["configurations"]["jittor"]["naclip"]["backend"] == "jittor"


def test_tables_have_the_best_in_bold_the_accuracy_aside():
    figures = {
        "a": {"seen": 0.5, "held_out": 0.75}, "b": {"seen": 0.625, "held_out": 0.25},
        "accuracy": {"seen": 0.9, "held_out": 0.8},
    }  # fmt: skip
    assert scenes.markdown_table({"torch": figures}).splitlines() == [
        "| | seen | held out |",
        "|---|---|---|",
        "| a | 50.0 | **75.0** |",
        "| b | **62.5** | 25.0 |",
        "| single objects among all 64 pairs, accuracy | 90.0 | 80.0 |",
    ]
    lines = scenes.text_table({"torch": figures, "numpy": {"a": figures["a"]}}).splitlines()
    assert lines[0].split() == ["torch", "seen", "held", "out", "numpy", "seen", "held", "out"]
    assert lines[1].split() == ["a", "50.0", "75.0", "50.0", "75.0"]
    assert lines[2].split() == ["b", "62.5", "25.0"]


def test_the_search_tries_every_composition_that_can_be():
    found = list(search.compositions())
    assert {"maskclip", "scclip+neighbourhood+fsa", "naclip+repair+fsa", "proxyclip+fsa"} <= set(found)
    assert not {"naclip+neighbourhood", "vanilla+fsa", "scclip+repair"} & set(found)
    rows = search.candidates()
    assert len(rows) == len({json.dumps(row) for row in rows.values()}) > 200
    assert rows["naclip gaussian_std=1.5 PAMR"] == {"method": "naclip", "pamr": True, "gaussian_std": 1.5}
    assert rows["fsa sharpness=3.0"]["external"] == "self"


def test_the_search_halves_until_the_best_are_left(monkeypatch):
    asked = []

    def measured(segmenters, seed, limit):
        asked.append((len(segmenters), seed, limit))
        return {name: {"seen": segmenters[name], "held_out": -1.0} for name in segmenters}

    monkeypatch.setattr(search, "measure", measured)
    best = search.search({f"candidate {i}": (i * 37 % 100) / 100 for i in range(100)}, seed=5)
    assert [scores["seen"] for scores in best.values()] == [0.99, 0.98, 0.97]
    assert asked == [(100, 5, 4), (33, 5, 12), (11, 5, 36), (3, 5, 108)]


def test_the_search_reports_the_best_beside_naclip_with_pamr_on_another_seed(monkeypatch, capsys, tmp_path):
    every = search.candidates()
    few = {name: every[name] for name in ("vanilla", "maskclip PAMR", "naclip gaussian_std=3.0", "sclip PAMR")}
    monkeypatch.setattr(search, "candidates", lambda: dict(few))
    monkeypatch.setattr(search, "SCENES", 4)
    monkeypatch.setattr(search, "FINALISTS", 2)
    arguments = ["--search", "--limit", "3", "--backend", "torch", "--json", str(tmp_path / "found.json")]
    assert evaluate.main(arguments) == 0
    record = json.loads((tmp_path / "found.json").read_text())
    assert (record["seed"], list(record["figures"])) == (1000, ["maskclip PAMR", "naclip gaussian_std=3.0", "naclip + PAMR"])
    out = capsys.readouterr().out
    assert "best on seed 1, 4 scenes each" in out and "3 scenes each, seed 1000" in out
    expected = scenes.measure(scenes.make_segmenters("torch", {"x": few["maskclip PAMR"]}, Segmenter), 1000, 3)["x"]
    assert record["figures"]["maskclip PAMR"] == pytest.approx(expected)


@pytest.mark.parametrize("arguments", [("--limit", 0), ("--seed", -1)])
def test_numbers_out_of_range_are_one_line_and_exit_code_2(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1

"""The evaluation on the scenes: its measure by hand, that the command reports what it measured, and the search."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import backend_or_skip
from scripts_as_modules import load_command

from core import METHODS, Segmenter
from core.clip.view import to_pixels
from core.evaluation import on_scenes, search
from core.evaluation.compositions import WORTH_KNOWING, compositions
from core.evaluation.metrics import object_iou
from core.methods.registry import Method
from core.scenes import PAIRS, benchmark_scenes, single_object_scenes

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
evaluate = load_command("evaluate")


def run(*arguments):
    command = [sys.executable, str(SCRIPTS / "evaluate.py"), *map(str, arguments)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # spinning threads crawl where tests run side by side
    return subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)


def test_the_embedded_model_segments_fresh_scenes_and_vanilla_does_not(tmp_path):
    result = run("--limit", 6, "--seed", 4, "--backend", "torch", "--json", tmp_path / "figures.json")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "figures.json").read_text())
    figures = record["figures"]
    assert (record["seed"], record["limit"], record["backend"]) == (4, 6, "torch")
    assert list(figures) == [*on_scenes.every_row(), "accuracy"]
    for pairs in ("seen", "held_out"):
        assert figures["naclip + PAMR"][pairs] > 0.5
        assert figures["vanilla"][pairs] < 0.1
    assert figures["accuracy"]["seen"] > 0.75
    assert f"{100 * figures['naclip']['seen']:.1f}" in result.stdout
    configuration = record["configurations"]["naclip + PAMR"]
    assert configuration["weights_sha256"] in result.stdout and configuration["pamr"] is True
    assert configuration["dtype"] == "float32" and configuration["versions"]["torch"] in result.stdout


def test_a_row_is_the_mean_over_fresh_scenes_each_segmented_alone():
    rows = {name: on_scenes.every_row()[name] for name in ("sfp", "naclip + PAMR", "fsa, self")}
    figures = on_scenes.measure(on_scenes.make_segmenters("torch", rows), seed=7, limit=3)
    for name, own in rows.items():
        segmenter = Segmenter(backend="torch", **own)
        for kind in ("seen", "held_out"):
            alone = [
                object_iou(segmenter(s.image, s.classes).labels, s.labels, s.n_objects) for s in benchmark_scenes(7, 3, kind)
            ]
            assert figures[name][kind] == pytest.approx(np.mean(alone))


def test_a_method_s_record_says_its_rows(monkeypatch):
    rows = on_scenes.every_row()
    published = [
        "vanilla", "maskclip", "sclip", "clearclip", "naclip", "naclip + PAMR", "scclip", "sfp", "proxyclip, self", "fsa, self",
        *WORTH_KNOWING,
    ]  # fmt: skip
    assert [name for name in rows if name in published] == published
    assert [name for name in published if rows[name]["pamr"]] == ["naclip + PAMR"]
    assert [name for name in published if rows[name].get("external") == "self"] == ["proxyclip, self", "fsa, self"]
    monkeypatch.setitem(METHODS, "mine", Method("mine", METHODS["proxyclip"].recipe, needs=("external",), pamr=True))
    added = {name: own for name, own in on_scenes.every_row().items() if name not in rows}
    assert added == {
        "mine, self": {"method": "mine", "pamr": False, "external": "self"},
        "mine, self + PAMR": {"method": "mine", "pamr": True, "external": "self"},
    }
    assert "mine" in set(compositions())


def test_all_rows_share_a_model_that_was_asked_for_with_options():
    rows = {name: {"method": name} for name in ("maskclip", "clearclip")}
    one, other = on_scenes.make_segmenters("numpy", rows, precision="bf16", short_side=64).values()
    assert one.clip is other.clip and other.clip.precision == "bf16"
    assert (one.settings.method, other.settings.method, other.settings.short_side) == ("maskclip", "clearclip", 64)


class RightByColour:
    """A CLIP in which only pictures of the known pairs lie beside their words; it has what the accuracy reads, and no more."""

    image_size, mean, std = 32, (0.5, 0.25, 0.75), (0.5, 1.0, 2.0)

    def __init__(self, scenes, known):
        size = (self.image_size, self.image_size)
        self.pairs = {to_pixels(scene.image, size, self.mean, self.std).tobytes(): scene.classes[0] for scene in scenes}
        self.known = known

    def text_embeddings(self, phrases):
        assert phrases == list(PAIRS)
        return np.eye(len(phrases), dtype=np.float32)

    def image_embeddings(self, pixels):
        pair = self.pairs[pixels.tobytes()]
        row = np.zeros((1, len(PAIRS)), dtype=np.float32)
        row[0, (PAIRS.index(pair) + (pair not in self.known)) % len(PAIRS)] = 7.0
        return row


def test_the_accuracy_needs_a_clip_by_its_contract_alone():
    scenes = list(single_object_scenes(3, 64, (48, 48)))
    seen, held_out = ([p for p in PAIRS if (p in on_scenes.HELD_OUT) == held] for held in (False, True))
    known = {*seen[:14], *held_out[:2]}
    accuracy = on_scenes.single_object_accuracy(RightByColour(scenes, known), scenes)
    assert accuracy == {"seen": 14 / 56, "held_out": 2 / 8}


def test_settings_are_shared_by_all_rows_and_recorded(tmp_path, capsys):
    arguments = ["--method", "naclip", "--limit", "1", "--seed", "3", "--backend", "numpy", "--short-side", "64",
                 "--no-whole-patches", "--pamr", "--pamr-iterations", "2", "--pamr-dilations", "4,8"]  # fmt: skip
    assert evaluate.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    configuration = json.loads((tmp_path / "figures.json").read_text())["configurations"]["naclip"]
    assert (configuration["short_side"], configuration["whole_patches"]) == (64, False)
    assert (configuration["pamr_iterations"], configuration["pamr_dilations"]) == (2, [4, 8])


def test_one_method_with_its_options(tmp_path, capsys):
    arguments = ["--method", "clearclip+neighbourhood", "--option", "gaussian_std=1", "--pamr", "--limit", "2", "--seed", "3",
                 "--backend", "torch", "--json", str(tmp_path / "figures.json")]  # fmt: skip
    assert evaluate.main(arguments) == 0
    record = json.loads((tmp_path / "figures.json").read_text())
    assert list(record["figures"]) == ["clearclip+neighbourhood", "accuracy"]
    configuration = record["configurations"]["clearclip+neighbourhood"]
    assert configuration["options"] == {"gaussian_std": 1} and configuration["pamr"] is True
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
    assert on_scenes.markdown_table({"torch": figures}).splitlines() == [
        "| | seen | held out |",
        "|---|---|---|",
        "| a | 50.0 | **75.0** |",
        "| b | **62.5** | 25.0 |",
        "| single objects among all 64 pairs, accuracy | 90.0 | 80.0 |",
    ]
    lines = on_scenes.text_table({"torch": figures, "numpy": {"a": figures["a"]}}).splitlines()
    assert lines[0].split() == ["torch", "seen", "held", "out", "numpy", "seen", "held", "out"]
    assert lines[1].split() == ["a", "50.0", "75.0", "50.0", "75.0"]
    assert lines[2].split() == ["b", "62.5", "25.0"]


def test_the_search_tries_every_composition_that_can_be():
    found = list(compositions())
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
    expected = on_scenes.measure(on_scenes.make_segmenters("torch", {"x": few["maskclip PAMR"]}), 1000, 3)["x"]
    assert record["figures"]["maskclip PAMR"] == pytest.approx(expected)


@pytest.mark.parametrize("arguments", [("--limit", 0), ("--seed", -1)])
def test_numbers_out_of_range_are_one_line_and_exit_code_2(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1

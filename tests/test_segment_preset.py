"""`segment.py --preset AUTHORS/DATASET`: a preset's method, settings and class names, and what goes before them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts_as_modules import load_command

from core import InputError
from core.evaluation.data.datasets import DATASETS
from core.evaluation.published.names import FOLDER, read_names
from core.evaluation.published.presets import PRESETS, named_preset, preset_for
from core.segment.query import parse_classes

segment = load_command("segment")


@pytest.fixture
def called(tmp_path, monkeypatch):
    """Puts a stand-in in the Segmenter's place that ends the call; gives what it was made and asked with."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("a.png")
    seen = {}

    class StandIn:
        def __init__(self, method, backend, **options):
            seen.update(method=method, **options)

        def query(self, classes):
            seen["classes"] = classes
            raise InputError("enough is seen")

    monkeypatch.setattr(segment, "Segmenter", StandIn)

    def call(*arguments):
        seen.clear()
        assert segment.main(["a.png", *arguments]) == 2
        return dict(seen)

    return call


def names_of(file, dataset):
    return parse_classes(read_names(FOLDER / file, DATASETS[dataset])).names


@pytest.mark.parametrize(
    ("name", "method", "file"),
    [
        ("naclip/voc21", "naclip", "naclip_voc21.txt"),
        ("sfp/cityscapes", "sfp", "sfp_city_scapes.txt"),
        ("sclip/ade20k", "sclip", "naclip_ade20k.txt"),
        ("naclip+fsa/voc20", "naclip+fsa", "naclip_voc20.txt"),
        ("maskclip/coco_object", "maskclip", "naclip_coco_object.txt"),
    ],
)
def test_method_settings_and_class_names_are_the_preset_s(name, method, file, called):
    seen = called("--preset", name)
    dataset = name.split("/")[1]
    assert seen["method"] == method and seen["preset"] == preset_for(method, dataset).settings
    assert seen["classes"].names == names_of(file, dataset)


def test_what_is_given_goes_before_the_preset(called, tmp_path):
    given = ("--method", "maskclip", "--short-side", "64", "--prob-thd", "0", "--classes", "a", "b")
    seen = called("--preset", "sclip/voc21", *given)
    assert (seen["method"], seen["short_side"], seen["prob_thd"]) == ("maskclip", 64, 0)
    assert seen["preset"] == {**PRESETS["sclip", "voc21"].settings, "pamr": False} and seen["classes"].names == ("a", "b")
    Path("mine.txt").write_text("x\ny\n")
    assert called("--preset", "sclip/voc21", "--classes-file", "mine.txt")["classes"].names == ("x", "y")
    assert called("--classes", "a")["method"] == "naclip"


def test_the_external_model_is_left_out_or_offline_the_embedded_one_s_own(called):
    assert called("--preset", "proxyclip/voc21")["external"] == "self"
    seen = called("--preset", "proxyclip/voc21", "--model", "ViT-B-16")
    assert seen.get("external") is None and seen["preset"]["external"] == "dino"
    assert "external" not in called("--preset", "proxyclip/voc21", "--method", "naclip")["preset"]


def test_pamr_is_the_method_s_unless_the_preset_says_that_it_is_off():
    assert [named_preset(f"{name}/voc21")[1].settings["pamr"] for name in ("naclip", "naclip-no-pamr", "sclip")] == [
        True, False, False,
    ]  # fmt: skip
    assert named_preset("naclip-no-pamr/voc21")[0] == "naclip"
    assert named_preset("sclip/voc21", "naclip")[1].settings["pamr"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--preset", "naclip"), "there is no preset 'naclip': it is AUTHORS/DATASET, such as naclip/voc21. AUTHORS: naclip,"),
        (("--preset", "naclip/voc12"), "there is no preset 'naclip/voc12'"),
        (("--preset", "/voc21"), "there is no preset '/voc21'"),
        (("--preset", ""), "there is no preset ''"),
        (("--preset", "nobody/voc21"), "unknown method 'nobody'"),
        (("--preset", "naclip/voc21", "--method", "nobody"), "unknown method 'nobody'"),
        ((), "one of --classes, --classes-file and --preset is required"),
    ],
)
def test_what_is_no_preset_is_one_line(arguments, says, called, capsys):
    try:
        seen = called(*arguments)
    except SystemExit as ended:
        assert ended.code == 2
        seen = {}
    err = capsys.readouterr().err
    assert seen == {} and err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_the_preset_s_settings_are_recorded_beside_the_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save("a.png")
    arguments = ["a.png", "--preset", "sclip/voc21", "--classes", "red circle", "grass", "--short-side", "64", "--window", "0"]
    assert segment.main([*arguments, "--backend", "torch"]) == 0
    configuration = json.loads(Path("out/a.json").read_text())["configuration"]
    assert (configuration["preset"], configuration["method"]) == ("sclip/voc21", "sclip")
    assert (configuration["logit_scale"], configuration["prob_thd"], configuration["short_side"]) == (65.0, 0.1, 64)
    assert configuration["whole_patches"] is False


def test_the_embedded_model_says_that_it_does_not_know_the_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save("a.png")
    assert segment.main(["a.png", "--preset", "naclip/voc20", "--backend", "torch"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "does not know the word" in err

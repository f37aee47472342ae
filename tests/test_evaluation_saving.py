"""`evaluate.py --save-labels` and `--save-overlays`: the data set's own ids, whole files, and runs that go on."""

import json
import os

import numpy as np
import pytest
import tiny_data
from PIL import Image
from scripts_as_modules import load_command

from core import Segmenter
from core.evaluation.data.datasets import DATASETS, find_samples
from core.evaluation.data.derive import CITYSCAPES_IDS, TABLES
from core.evaluation.data.own_ids import own_ids, voc_palette
from core.evaluation.metrics import figures
from core.evaluation.predictions import MARK
from core.segment.pictures import read_picture

evaluate = load_command("evaluate")
SMALL = ("--short-side", "64", "--window", "0", "--backend", "torch", "--method", "maskclip")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in this process and in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = evaluate.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def voc(tmp_path):
    """The options for a tiny voc21, and its folder."""
    tiny_data.make("voc21", tmp_path / "data")
    return "--dataset", "voc21", "--root", tmp_path / "data", *SMALL


def values(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("name", list(DATASETS))
def test_labels_in_the_data_set_s_own_ids(name, run, tmp_path, monkeypatch):
    dataset, rng = DATASETS[name], np.random.default_rng(3)
    tiny_data.make(name, tmp_path / "data", n=2)
    samples = find_samples(dataset, tmp_path / "data")
    labels = [rng.permutation(np.arange(96 * 128).reshape(96, 128) % dataset.n_classes) for _ in samples]
    given = iter(labels)
    monkeypatch.setattr(Segmenter, "labels", lambda *arguments: next(given))
    code, _, err = run("--dataset", name, "--root", tmp_path / "data", "--save-labels", "saved", *SMALL)
    assert (code, err) == (0, "")
    stems = [sample.name.rpartition("/")[2] for sample in samples]
    assert sorted(os.listdir("saved")) == sorted(f"{stem}.png" for stem in stems)
    for stem, label in zip(stems, labels, strict=True):
        saved = values(f"saved/{stem}.png")
        assert saved.dtype == np.uint8
        if name in TABLES:  # derived from, they are the labels again
            table = next(iter(TABLES[name].values()))
            np.testing.assert_array_equal(table[saved], label)
        else:
            np.testing.assert_array_equal(saved, label + dataset.reduce_zero)
        with Image.open(f"saved/{stem}.png") as image:
            assert image.mode == ("P" if name.startswith("voc") else "L")


def test_ids_as_the_servers_have_them():
    ranges = {name: (own_ids(DATASETS[name]).min(), own_ids(DATASETS[name]).max()) for name in DATASETS}
    assert ranges == {
        "voc21": (0, 20), "voc20": (1, 20), "context60": (0, 59), "context59": (1, 59), "ade20k": (1, 150),
        "cityscapes": (7, 33), "coco_stuff164k": (0, 181), "coco_object": (0, 255),
    }  # fmt: skip
    assert tuple(own_ids(DATASETS["cityscapes"])) == CITYSCAPES_IDS
    things = own_ids(DATASETS["coco_object"])
    assert things[0] == 255 and things[1:].tolist() == own_ids(DATASETS["coco_stuff164k"])[:80].tolist()


def test_voc_s_palette_as_its_devkit_has_it():
    """VOClabelcolormap of the VOC devkit (Everingham et al.): background, aeroplane, boat, sofa, tv/monitor, border."""
    colours = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 4: (0, 0, 128), 18: (0, 192, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    for index, colour in expected.items():
        assert tuple(colours[index]) == colour


def test_saving_changes_no_figure_and_is_what_was_counted(run, voc, tmp_path):
    assert run(*voc, "--out", "plain")[0] == 0
    assert run(*voc, "--out", "with", "--save-labels", "saved", "--save-overlays", "drawn")[0] == 0
    assert (tmp_path / "plain/result.json").read_bytes() == (tmp_path / "with/result.json").read_bytes()
    assert (tmp_path / "plain/journal.jsonl").read_bytes() == (tmp_path / "with/journal.jsonl").read_bytes()
    matrix = np.zeros((21, 21), dtype=int)
    for sample in find_samples(DATASETS["voc21"], tmp_path / "data"):
        truth, saved = values(sample.label), values(f"saved/{sample.name}.png")
        np.add.at(matrix, (truth[truth != 255], saved[truth != 255]), 1)
        with Image.open(f"drawn/{sample.name}_overlay.png") as overlay:
            assert overlay.mode == "RGB" and overlay.width > read_picture(sample.picture).shape[1]
    assert figures(matrix).miou == json.loads((tmp_path / "with/result.json").read_text())["figures"]["mIoU"]


def test_a_run_goes_on_to_all_of_its_files_and_measures_nothing_twice(run, voc, tmp_path, monkeypatch):
    assert run(*voc, "--save-labels", "whole")[0] == 0
    assert run(*voc)[0] == 0
    journal = tmp_path / "out/evaluation/voc21_maskclip_torch/journal.jsonl"
    before = journal.read_bytes()
    assert run(*voc, "--save-labels", "saved", "--save-overlays", "saved")[0] == 0
    names = [sample.name for sample in find_samples(DATASETS["voc21"], tmp_path / "data")]
    assert sorted(os.listdir("saved")) == sorted([f"{n}.png" for n in names] + [f"{n}_overlay.png" for n in names])
    for name in names:
        assert (tmp_path / f"saved/{name}.png").read_bytes() == (tmp_path / f"whole/{name}.png").read_bytes()
    os.remove(f"saved/{names[1]}.png")
    seen, labels = [], Segmenter.labels
    monkeypatch.setattr(Segmenter, "labels", lambda *arguments: seen.append(1) or labels(*arguments))
    assert run(*voc, "--save-labels", "saved", "--save-overlays", "saved")[0] == 0
    assert len(seen) == 1 and os.path.isfile(f"saved/{names[1]}.png")
    assert run(*voc, "--save-labels", "saved")[0] == 0 and len(seen) == 1
    assert journal.read_bytes() == before


def test_killed_between_a_label_and_its_count_it_goes_on(run, voc, tmp_path, monkeypatch):
    from core.evaluation.journal import Journal

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", killed)
        assert run(*voc, "--save-labels", "saved")[0] == 130
    assert len(os.listdir("saved")) == 1
    assert run(*voc, "--save-labels", "saved")[0] == 0
    assert len([name for name in os.listdir("saved") if name.endswith(".png")]) == 3


def test_another_run_s_files_are_replaced_with_restart_alone(run, voc, tmp_path):
    assert run(*voc, "--save-labels", "saved", "--out", "a")[0] == 0
    other = (*voc, "--save-labels", "saved", "--out", "b", "--logit-scale", "7")
    code, _, err = run(*other)
    assert code == 2 and err.count("\n") == 1 and "is of another run: begin anew with --restart" in err
    assert not (tmp_path / "b/journal.jsonl").exists()
    assert run(*other, "--restart")[0] == 0
    marks = set()
    for name in os.listdir("saved"):
        with Image.open(f"saved/{name}") as image:
            marks.add(image.info[MARK].split()[0])
    assert len(marks) == 1


@pytest.mark.parametrize("place", ["data/VOCdevkit/VOC2012/SegmentationClass", "data/VOCdevkit/VOC2012/JPEGImages", "mine"])
def test_no_file_of_another_s_is_overwritten(place, run, voc, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "mine/2007_000034.png")
    before = {path: path.read_bytes() for path in (tmp_path / place).iterdir()}
    for more in ((), ("--restart",)):
        code, _, err = run(*voc, "--save-labels", place, *more)
        assert code == 2 and err.count("\n") == 1 and "name another folder" in err
    assert {path: path.read_bytes() for path in (tmp_path / place).iterdir()} == before
    assert not (tmp_path / "out/evaluation/voc21_maskclip_torch/journal.jsonl").exists()


def test_a_bad_picture_has_no_label_and_several_runs_a_folder_each(run, voc, tmp_path):
    (tmp_path / "data/VOCdevkit/VOC2012/JPEGImages/2007_000034.jpg").write_text("no picture")
    assert run(*voc, "--backend", "torch", "numpy", "--limit", 2, "--save-labels", "saved")[0] == 2
    assert sorted(os.listdir("saved")) == ["voc21_maskclip_numpy", "voc21_maskclip_torch"]
    assert {tuple(os.listdir(f"saved/{name}")) for name in os.listdir("saved")} == {("2007_000033.png",)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--save-labels", "x"), "--save-labels makes no sense for the scenes"),
        (("--save-overlays", "x"), "--save-overlays makes no sense for the scenes"),
        (("--dataset", "voc21", "--root", "data", "--save-labels", "file/below"), "cannot write to the folder"),
        (("--dataset", "voc21", "--root", "data", "--save-labels", "file"), "it is a file, not a folder"),
    ],
)
def test_where_nothing_can_be_saved_is_one_line(arguments, says, run, voc, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run(*arguments, "--backend", "torch")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_an_empty_folder_s_name_is_refused(run, voc, capsys):
    with pytest.raises(SystemExit) as ended:
        run(*voc, "--save-labels", "")
    assert ended.value.code == 2 and "--save-labels: it must name a file or a folder" in capsys.readouterr().err


def test_a_run_among_companions_gives_the_very_same_result(run, tmp_path):
    from test_data_companions import LISTING, strew

    for place in ("plain", "strewn"):
        home = tiny_data.make("voc21", tmp_path / place)
        if place == "strewn":
            names = (home / LISTING).read_text().split()
            (home / LISTING).write_bytes("\ufeff".encode() + "".join(f"{name}.jpg 1\r\n" for name in names).encode())
            for folder in ("JPEGImages", "SegmentationClass"):
                strew(home / folder)
        code, _, err = run("--dataset", "voc21", "--root", place, "--out", f"out/{place}", *SMALL)
        assert (code, err) == (0, "")
    assert (tmp_path / "out/plain/result.json").read_bytes() == (tmp_path / "out/strewn/result.json").read_bytes()


def test_notes_are_printed_before_anything_is_loaded(run, tmp_path):
    home = tiny_data.make("coco_stuff164k", tmp_path / "data", n=3)
    (home / "images/val2017/Copy of 000000000033.jpg").touch()
    for path in (home / "annotations/val2017").iterdir():
        tiny_data.write_label(path, (np.arange(96 * 128).reshape(96, 128) % 81).astype(np.uint8))
    code, _, err = run("--dataset", "coco_stuff164k", "--root", "data", *SMALL)
    notes = err.splitlines()
    assert code == 0 and len(notes) == 2
    assert notes[0].startswith("note: 1 file is passed over in ") and "they fit coco_object better" in notes[1]

"""The command `scripts/segment.py`: what it checks, prints and writes, around a small stand-in for the Segmenter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scripts_as_modules import SCRIPTS, load_command, run

from core import InputError
from core.clip.view import view_of
from core.commands import options
from core.results import segmentation
from core.results.segmentation import Segmentation
from core.segment.query import ClassList
from core.segment.settings import KINDS

SCRIPT = SCRIPTS / "segment.py"


@pytest.fixture
def command() -> ModuleType:
    return load_command("segment")


@pytest.fixture
def made(monkeypatch, command) -> list[SimpleNamespace]:
    """Puts a stand-in in the Segmenter's place, which gives pixel x the class x mod C; lists those that were made."""
    segmenters: list[SimpleNamespace] = []

    class StandIn:
        def __init__(self, *arguments: object, **options: object) -> None:
            if options.get("stride", 1) > options.get("window", 1000):
                raise InputError("the stride must be at most the window")
            self.arguments, self.options, self.seen = arguments, options, []
            segmenters.append(self)

        def query(self, classes: ClassList) -> ClassList:
            if "zebra" in classes.phrases:
                raise InputError("the model does not know the word zebra; it knows red, circle")
            return classes

        def view(self, picture: np.ndarray) -> object:
            return view_of(*picture.shape[:2], 16, 8)

        def __call__(self, picture: np.ndarray, query: ClassList, features: None) -> Segmentation:
            self.seen.append(picture.shape)
            if picture.shape[0] == 99:
                raise MemoryError
            if picture.shape[0] == 98:
                raise KeyboardInterrupt
            if picture.shape[0] == 97:
                raise RuntimeError("a bug")
            if picture.shape[0] == 96:
                import torch

                torch.empty(1 << 50)
            names = list(query.names)
            labels = np.arange(picture.shape[1])[None].repeat(picture.shape[0], axis=0) % len(names)
            scores = (labels == np.arange(len(names))[:, None, None]).astype(np.float32)
            return Segmentation(labels, scores, names, picture)

        def configuration(self) -> dict:
            return {"method": self.arguments[0]}

    monkeypatch.setattr(command, "Segmenter", StandIn)
    return segmenters


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """A folder, also the current one, with two good pictures and a bad one."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 4), "red").save("a.png")
    Image.new("RGB", (6, 4), "blue").save("b.png")
    Path("bad.png").write_text("no picture")
    return tmp_path


def files(folder: str = "out") -> list[str]:
    return sorted(os.listdir(folder))


def test_a_picture_gives_three_files_and_a_block(command, made, pictures, capsys):
    done = run(command, capsys, "a.png", "--classes", "cat", "sofa, couch", "wall", "dog", "--out", "new/out")
    assert done.code == 0 and done.err == ""
    assert files("new/out") == ["a.json", "a_labels.png", "a_overlay.png"]
    lines = done.out.splitlines()
    assert lines[0] == "a.png  8 x 4"
    assert [line.split() for line in lines[1:5]] == [["25.0%", name] for name in ("cat", "sofa", "wall", "dog")]
    assert [line.strip() for line in lines[5:]] == ["new/out/a_overlay.png", "new/out/a_labels.png", "new/out/a.json"]
    record = json.loads(Path("new/out/a.json").read_text())
    assert record["configuration"] == {"picture": "a.png", "method": "naclip"}
    assert record["classes"] == ["cat", "sofa", "wall", "dog"]


def test_classes_without_a_pixel_are_named_apart(command, made, pictures, capsys):
    Image.new("RGB", (2, 3)).save("narrow.png")
    done = run(command, capsys, "narrow.png", "--classes", "cat", "dog", "wall", "sky")
    assert [line.strip() for line in done.out.splitlines()[1:4]] == ["50.0%  cat", "50.0%  dog", "no pixel: wall, sky"]


def test_scores_are_saved_when_asked_for(command, made, pictures, capsys):
    assert run(command, capsys, "a.png", "--classes", "cat", "dog", "--scores").code == 0
    assert "a_scores.npz" in files()
    assert np.load("out/a_scores.npz")["scores"].shape == (2, 4, 8)


def test_options_reach_the_segmenter_and_only_those_given(command, made, pictures, capsys):
    run(command, capsys, "a.png", "--classes", "cat", "dog")
    assert made[0].arguments == ("naclip", "jittor") and made[0].options == {}
    argv = "--method naclip --backend numpy --model ViT-B-16 --pretrained openai --quick-gelu --device cpu --pamr"
    argv += " --window 224 --stride 112 --short-side 336 --logit-scale 50 --prob-thd 0.1 --area-thd 0.2"
    argv += " --pamr-iterations 3 --pamr-dilations 2,4 --no-whole-patches"
    argv += " --option gaussian_std=2.5 --option arch=vanilla --classes cat dog"
    run(command, capsys, "a.png", *argv.split())
    assert made[1].arguments == ("naclip", "numpy")
    assert made[1].options == {
        "model": "ViT-B-16", "pretrained": "openai", "quick_gelu": True, "device": "cpu", "pamr": True, "window": 224,
        "stride": 112, "short_side": 336, "logit_scale": 50.0, "prob_thd": 0.1, "area_thd": 0.2,
        "pamr_iterations": 3, "pamr_dilations": (2, 4), "whole_patches": False, "gaussian_std": 2.5, "arch": "vanilla",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [("n=5", 5), ("n=0.5", 0.5), ("n=1e-3", 1e-3), ("n=true", True), ("n=False", False), ("n=a=b", "a=b")],
)
def test_values_of_method_options(text, value):
    name, parsed = options.name_and_value(text)
    assert name == "n" and parsed == value and type(parsed) is type(value)


def test_a_classes_file(command, made, pictures, capsys):
    Path("words.txt").write_text("sky; wall\ncat, kitten\n")
    assert run(command, capsys, "a.png", "--classes-file", "words.txt").code == 0
    assert json.loads(Path("out/a.json").read_text())["classes"] == ["sky", "cat"]


def test_a_bad_picture_is_named_and_the_others_come_out(command, made, pictures, capsys):
    done = run(command, capsys, "a.png", "bad.png", "missing.png", "b.png", "--classes", "cat", "dog")
    assert done.code == 2
    assert files() == sorted(f"{stem}{end}" for stem in "ab" for end in (".json", "_labels.png", "_overlay.png"))
    errors = done.err.splitlines()
    assert errors[0].startswith("error: cannot read bad.png: it is not a picture of a kind that is read")
    assert errors[1] == "error: cannot read missing.png: there is no such file"
    assert errors[2] == "2 of 4 pictures could not be segmented: bad.png, missing.png" and len(errors) == 3
    assert len(made) == 1


def test_nothing_is_loaded_when_no_picture_can_be_read(command, made, pictures, capsys):
    done = run(command, capsys, "bad.png", "--classes", "cat", "dog")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and done.out == "" and made == []


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("--classes-file words.txt", "name at least one PICTURE"),
        ("--classes cat a.png", "name at least one PICTURE, before --classes"),
        ("a.png", "--classes"),
        ("a.png --classes", "expected at least one argument"),
        ("a.png --classes cat dog --classes-file words.txt", "not allowed with"),
        ("a.png --classes cat Cat", '"Cat" is in the list twice'),
        ("a.png --classes cat dog,,", "empty synonym"),
        ("a.png --classes-file missing.txt", "cannot read classes from missing.txt"),
        ("a.png --classes cat dog --method magic", "unknown method 'magic'"),
        ("a.png --classes cat dog --backend magic", "invalid choice: 'magic'"),
        ("a.png --classes cat dog --option magic=1", "no option magic"),
        ("a.png --classes cat dog --method maskclip --option gaussian_std=1", "no option gaussian_std"),
        ("a.png --classes cat dog --option gaussian_std", "NAME=VALUE"),
        ("a.png --classes cat dog --option gaussian_std=inf", "not a finite number"),
        ("a.png --classes zebra", "does not know the word zebra"),
        ("a.png --classes cat --out a.png", "it is a file, not a folder"),
        ("a.png --classes-file=", "cannot read classes from"),
        ("a.png --classes cat dog --window -1", "--window: it must be at least one patch and at most"),
        ("a.png --classes cat dog --short-side 2.5", "--short-side: it must be at least 1 pixel and at most"),
        ("a.png --classes cat dog --stride 200 --window 100", "the stride must be at most the window"),
        ("a.png --classes cat dog --logit-scale high", "--logit-scale: it must be a number above 0 and at most"),
        ("a.png --classes cat dog --pamr-dilations 8,x", "--pamr-dilations: it must be whole numbers of at least 1"),
        ("a.png --classes cat dog --no-pamr --pamr-iterations 3", "pamr_iterations has no effect: PAMR is off for naclip"),
        ("a.png --classes cat dog --external=", "--external: it must be a word, not ''"),
        ("a.png --classes cat dog --magic", "unrecognized arguments: --magic"),
        ("a.png b.png --classes cat zebra", "does not know the word zebra"),
        ("a.png --classes cat dog --out a.png", "it is a file, not a folder"),
        ("a.png --classes cat dog --out a.png/below", "cannot write to the folder a.png/below"),
        ("a.png --classes cat dog --out /proc/no/such", "cannot write to the folder /proc/no/such"),
    ],
)
def test_a_bad_call_gives_one_line_and_code_2(command, made, pictures, capsys, argv, reason):
    done = run(command, capsys, *argv.split())
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("error: ") and reason in done.err and done.err.count("\n") == 1
    assert all(segmenter.seen == [] for segmenter in made)


def test_bad_options_load_no_framework(tmp_path):
    picture = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(picture)
    program = """
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as left:
    print(left.code, [name for name in ("torch", "jittor", "open_clip") if name in sys.modules])
"""
    for bad in (["--window", "x"], ["--option", "magic=1"], ["--logit-scale", "-1"], ["--prob-thd", "2"]):
        argv = [str(SCRIPT), str(picture), "--classes", "cat", "dog", "--out", str(tmp_path / "out"), *bad]
        source = f"import runpy, sys; sys.argv = {argv!r}\n{program}"
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout == "2 []\n" and done.stderr.startswith("error: "), done


@pytest.mark.parametrize("script", ["segment", "evaluate", "parity", "benchmark"])
def test_the_scripts_run_from_anywhere_without_an_install(tmp_path, script):
    path = SCRIPT.with_name(f"{script}.py")
    done = subprocess.run([sys.executable, "-I", str(path), "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "usage:" in done.stdout and done.stderr == ""


def test_closed_streams_are_no_error(tmp_path):
    done = subprocess.run(f"'{sys.executable}' '{SCRIPT}' none.png --classes cat 2>&-", shell=True, cwd=tmp_path)
    assert done.returncode == 2


@pytest.mark.parametrize(("streams", "code"), [("2>&-", 0), ("2> /dev/full", 0), (">&-", 0), ("> /dev/full", 2)])
def test_the_work_is_done_whatever_the_streams_are(tmp_path, streams, code):
    picture = SCRIPT.with_name("pictures") / "seen_3.png"
    call = f"'{sys.executable}' '{SCRIPT}' '{picture}' --classes brick grass --backend numpy --no-pamr {streams}"
    assert subprocess.run(call, shell=True, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == code
    assert sorted(os.listdir(tmp_path / "out")) == ["seen_3.json", "seen_3_labels.png", "seen_3_overlay.png"]


def test_equal_stems_do_not_overwrite_each_other(command, made, pictures, capsys):
    Path("sub").mkdir()
    Image.new("RGB", (3, 3)).save("sub/A.JPG")
    done = run(command, capsys, "a.png", "sub/A.JPG", "a.png", "--classes", "cat", "dog")
    assert done.code == 0
    assert [name for name in files() if name.endswith(".json")] == ["A-2.json", "a-3.json", "a.json"]
    assert done.err.splitlines() == [
        "note: the results of sub/A.JPG are called A-2, as A is taken",
        "note: the results of a.png are called a-3, as a is taken",
    ]
    assert json.loads(Path("out/A-2.json").read_text())["configuration"]["picture"] == "sub/A.JPG"


def test_results_never_overwrite_a_picture(command, made, pictures, capsys):
    Image.new("RGB", (4, 4), "green").save("a_overlay.png")
    before = Path("a_overlay.png").read_bytes()
    done = run(command, capsys, "a.png", "a_overlay.png", "--out", ".", "--classes", "cat", "dog")
    assert done.code == 0 and "note: the results of a.png are called a-2" in done.err
    assert Path("a_overlay.png").read_bytes() == before
    assert {"a-2_overlay.png", "a_overlay_overlay.png"} <= set(files("."))


def test_another_picture_s_results_are_not_overwritten_without_a_word(command, made, pictures, capsys):
    call = ("--classes", "cat", "dog")
    Path("sub").mkdir()
    Image.new("RGB", (3, 3)).save("sub/a.png")
    assert run(command, capsys, "a.png", *call).err == ""
    for same in ("a.png", "./a.png", str(pictures / "a.png")):
        assert run(command, capsys, same, *call).err == ""
    done = run(command, capsys, "sub/a.png", "b.png", *call)
    assert done.code == 0
    assert done.err == f"note: the results of sub/a.png overwrite those of {pictures}/a.png in out\n"
    assert json.loads(Path("out/a.json").read_text())["configuration"]["picture"] == "sub/a.png"


@pytest.mark.parametrize("content", ["mine", "[]", "{}", '{"configuration": {"picture": 5}}', "[" * 100_000,
                                     '{"configuration": {"picture": "a\\u0000b"}}'])  # fmt: skip
def test_a_file_that_is_no_result_is_not_overwritten_without_a_word(command, made, pictures, capsys, content):
    Path("a.json").write_text(content)
    done = run(command, capsys, "a.png", "--classes", "cat", "dog", "--out", ".")
    assert (done.code, done.err) == (0, "note: the results of a.png overwrite a.json, which is no picture's results\n")


def test_names_of_files_are_printed_in_one_line(command, made, pictures, capsys):
    odd = "a\nerror: \x1b[31m\x07b\r\u2028"
    Image.new("RGB", (8, 4)).save(f"{odd}.png")
    Path(f"{odd}.txt").write_text("no picture")
    done = run(command, capsys, f"{odd}.png", f"{odd}.txt", f"{odd}.no", "--classes", "cat", "dog")
    assert done.code == 2
    for line in (done.out + done.err).splitlines():
        assert line.isprintable()
    shown = "a\\nerror: \\x1b[31m\\x07b\\r\\u2028"
    assert done.out.startswith(f"{shown}.png  8 x 4\n") and done.out.endswith(f"  out/{shown}.json\n")
    assert done.out.count("\n") == 6 and done.err.count("\n") == 5
    assert sorted(os.listdir("out")) == sorted(f"{odd}{end}" for end in (".json", "_labels.png", "_overlay.png"))


def test_a_long_word_is_not_echoed_whole(command, made, pictures, capsys):
    for words in (["x" * 100_000, "dog"], ["x " * 50_000, "y" * 70_000], [f"zebra {'x' * 100_000}", "zebra"]):
        done = run(command, capsys, "a.png", "--classes", *words)
        assert max(map(len, (done.out + done.err).splitlines())) < 2000
    many = [f"{'x' * 10_000}{i}" for i in range(9)]
    for words in ([*many, many[0]], [",".join(many), many[1]]):
        done = run(command, capsys, "a.png", "--classes", *words)
        assert max(map(len, (done.out + done.err).splitlines())) < 2000


def test_a_folder_in_a_result_s_place_costs_this_picture_alone(command, made, pictures, capsys):
    Path("out/a_labels.png").mkdir(parents=True)
    done = run(command, capsys, "a.png", "b.png", "--classes", "cat", "dog")
    assert done.code == 2 and files() == ["a_labels.png", "b.json", "b_labels.png", "b_overlay.png"]
    assert done.err.splitlines()[0] == ("error: a.png: its results cannot be written to out: out/a_labels.png: Is a directory")


def test_pictures_that_are_links_to_themselves_are_named(command, made, pictures, capsys):
    Path("loop.png").symlink_to("loop.png")
    done = run(command, capsys, "loop.png", "a.png", "--classes", "cat", "dog")
    assert done.code == 2 and done.err.startswith("error: cannot read loop.png: ") and "a.json" in files()


def test_notes_on_classes(command, made, pictures, capsys):
    done = run(command, capsys, "a.png", "--classes", "cat,sofa,wall")
    assert done.code == 0 and done.err.startswith("note: there is one class only")
    done = run(command, capsys, "a.png", "--classes", "sky,bed", "bed")
    assert done.code == 0 and done.err == 'note: "bed" is a synonym of "sky" too, and so can never win\n'


def test_too_little_memory_is_a_bad_picture(command, made, pictures, capsys):
    Image.new("RGB", (4, 99)).save("huge.png")
    Image.new("RGB", (4, 96)).save("torch.png")
    done = run(command, capsys, "huge.png", "torch.png", "a.png", "--classes", "cat", "dog")
    assert done.code == 2 and "a.json" in files()
    errors = done.err.splitlines()
    assert [error.split(";")[0] for error in errors[:2]] == [
        "error: huge.png: not enough memory for it", "error: torch.png: not enough memory for it"
    ]  # fmt: skip


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(command, made, pictures, capsys, monkeypatch):
    def full(path: Path, **arrays: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segmentation.np, "savez", full)
    done = run(command, capsys, "a.png", "--classes", "cat", "dog", "--scores")
    assert done.code == 2 and files() == []
    assert done.err == "error: a.png: its results cannot be written to out: No space left on device\n"


def test_a_folder_for_a_picture(command, made, pictures, capsys):
    done = run(command, capsys, str(pictures), "--classes", "cat", "dog")
    assert done.code == 2 and "it is a folder" in done.err


def test_ctrl_c_gives_one_line_and_130(command, made, pictures, capsys):
    Image.new("RGB", (4, 98)).save("stop.png")
    done = run(command, capsys, "a.png", "stop.png", "b.png", "--classes", "cat", "dog")
    assert done.code == 130 and done.err == "interrupted; the pictures listed so far are complete\n"
    assert files() == ["a.json", "a_labels.png", "a_overlay.png"]


def test_a_reader_that_leaves_ends_the_run_quietly(command, made, pictures, capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert command.main(["a.png", "--classes", "cat", "dog"]) == 141
    assert capsys.readouterr().err == "" and "a.json" in files()


def test_bugs_are_not_hidden(command, made, pictures, capsys):
    Image.new("RGB", (4, 97)).save("bug.png")
    with pytest.raises(RuntimeError, match="a bug"):
        run(command, capsys, "bug.png", "--classes", "cat", "dog")


def test_names_the_terminal_cannot_write(tmp_path, command, made, pictures, monkeypatch):
    with open("stdout.txt", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert command.main(["a.png", "--classes", "猫", "dog"]) == 0
    assert "\\u732b" in Path("stdout.txt").read_text()
    assert json.loads(Path("out/a.json").read_text(encoding="utf-8"))["classes"] == ["猫", "dog"]


def test_a_progress_bar_on_a_terminal_with_several_pictures_only(command, made, pictures, monkeypatch, capsys):
    assert run(command, capsys, "a.png", "b.png", "--classes", "cat", "dog").err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(command, capsys, "a.png", "--classes", "cat", "dog").err == ""
    done = run(command, capsys, "a.png", "b.png", "--classes", "cat", "dog")
    assert "2/2" in done.err and "b.png  6 x 4" in done.out and "b.png  6 x 4" not in done.err


def test_every_setting_is_an_option_and_no_other_list_names_them(command):
    flags = {flag for action in command.make_parser()._actions for flag in action.option_strings}
    assert {f"--{name.replace('_', '-')}" for name in KINDS} <= flags

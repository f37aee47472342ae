"""Evaluation of data sets from end to end: every layout, killed and resumed, with bad pictures, and what is written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from conftest import backend_or_skip
from scripts_as_modules import load_command

from core import METHODS
from core.evaluation.compositions import measured_methods
from core.evaluation.data.datasets import DATASETS
from core.evaluation.data.labels import class_indices, read_label
from core.evaluation.metrics import IGNORED
from core.evaluation.published.names import STAND_INS
from core.evaluation.run import load_ahead
from core.methods.registry import Method

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
evaluate = load_command("evaluate")

SMALL = ("--short-side", "64", "--window", "0", "--backend", "torch")
COMMAND = [sys.executable, str(SCRIPTS / "evaluate.py")]
STALLING = """\
import os, sys, time
from core.evaluation import run
from core.commands.evaluate import main
load = run.load
def stalling(sample, dataset):
    while os.path.exists(f"{sample.label}.stall"):
        time.sleep(0.01)
    return load(sample, dataset)
run.load = stalling
sys.exit(main())
"""
"""The command, but that it waits at a label beside which there is a file that says so."""
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


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
    """The root of a tiny voc21."""
    tiny_data.make("voc21", tmp_path / "data")
    return tmp_path / "data"


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_data_set_from_end_to_end(name, run, tmp_path):
    tiny_data.make(name, tmp_path / "data", kind="16 bit" if name == "ade20k" else None)
    code, out, err = run("--dataset", name, "--root", tmp_path / "data", "--method", "maskclip", *SMALL)
    assert (code, err) == (0, "")
    folder = tmp_path / f"out/evaluation/{name}_maskclip_torch"
    result = result_of(folder)
    configuration = result["configuration"]
    assert configuration["preset"] == f"naclip-no-pamr/{name}" and configuration["dtype"] == "float32"
    assert configuration["overrides"] == {"short_side": 64} | ({} if name in ("voc21", "voc20") else {"window": 0})
    assert len(configuration["weights_sha256"]) == 64 and "numpy" in configuration["versions"]
    assert configuration["weights_sha256"] in out and configuration["versions"]["torch"] in out
    assert len(result["classes"]) == DATASETS[name].n_classes == len(configuration["classes"])
    assert result["pictures"] == {"asked": 3, "failed": {}}
    assert 0 <= result["figures"]["mIoU"] <= 1
    assert result["note"] == STAND_INS and f"note: {STAND_INS}" in out
    assert re.search(rf"\| {name} \| maskclip \| torch \| embedded \| 3 \| {100 * result['figures']['mIoU']:.2f} \|", out)
    assert result["published"] is None
    assert (folder / "result.md").read_text().count("\n|") >= 2


def test_the_figures_are_those_of_the_segmenter_and_scikit_learn(run, voc, tmp_path):
    from sklearn.metrics import accuracy_score, jaccard_score, recall_score

    from core import Segmenter

    options = ("--dataset", "voc21", "--root", voc, "--prob-thd", "0.03", "--area-thd", "0.2", "--no-pamr", *SMALL)
    code, out, _ = run(*options)
    assert code == 0
    result = result_of(tmp_path / "out/evaluation/voc21_naclip_torch")
    c = result["configuration"]
    assert c["overrides"] == {"short_side": 64, "prob_thd": 0.03, "area_thd": 0.2, "pamr": False}
    assert "\nlabels    logit scale 40, prob_thd 0.03, area_thd 0.2, no PAMR\n" in out
    segmenter = Segmenter(
        "naclip", "torch", pamr=False, short_side=64, window=0, whole_patches=False, prob_thd=0.03, area_thd=0.2
    )
    truth, labels = [], []
    home = voc / "VOCdevkit/VOC2012"
    for path in sorted((home / "SegmentationClass").iterdir()):
        truth.append(class_indices(read_label(path), DATASETS["voc21"], path).ravel())
        labels.append(segmenter(home / f"JPEGImages/{path.stem}.jpg", c["classes"]).labels.ravel())
    truth, labels = np.concatenate(truth), np.concatenate(labels)
    truth, labels = truth[truth != IGNORED], labels[truth != IGNORED]
    assert len(np.unique(labels)) > 2
    assert result["figures"]["aAcc"] == pytest.approx(accuracy_score(truth, labels))
    assert result["figures"]["mIoU"] == pytest.approx(jaccard_score(truth, labels, average="macro"))
    shown = np.unique(truth)
    assert result["figures"]["mAcc"] == pytest.approx(recall_score(truth, labels, labels=shown, average="macro"))
    for index, entry in enumerate(result["classes"]):
        expected = jaccard_score(truth == index, labels == index) if index in truth or index in labels else None
        assert entry["IoU"] == (None if expected is None else pytest.approx(expected))
    assert f"mIoU {100 * result['figures']['mIoU']:.2f}  aAcc {100 * result['figures']['aAcc']:.2f}" in out


def test_the_published_figure_stands_beside_with_what_is_unlike(run, voc):
    code, out, _ = run("--dataset", "voc21", "--root", voc, "--limit", 1, *SMALL)
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("| voc21"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[8] == "64.07"
    assert "\nlabels    logit scale 40, prob_thd 0.1, area_thd 0, PAMR 10 x [8, 16]\n" in out
    assert cells[9] == "model embedded; short_side 64; 1 of 1449 pictures; class names stand-in"


@pytest.mark.parametrize(("method", "dataset"), [("sclip", "voc21"), ("sfp", "cityscapes")])
def test_another_model_takes_the_authors_names_and_settings(method, dataset, tmp_path, monkeypatch):
    from towers import seeded_clip

    from core.evaluation import one_method
    from core.evaluation.data.datasets import find_samples
    from torch_backend import ClipBackbone

    def embeddings(phrases):
        vectors = np.stack([np.random.default_rng(list(phrase.encode())).standard_normal(64) for phrase in phrases])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    backbone = ClipBackbone(seeded_clip(5), device="cpu")
    monkeypatch.setattr(backbone, "text_embeddings", embeddings)
    tiny_data.make(dataset, tmp_path / "data", n=2)
    samples = find_samples(DATASETS[dataset], tmp_path / "data")
    model = {"model": backbone, "backend": "torch"}
    record = one_method.measure(one_method.prepare(DATASETS[dataset], samples, method, model), tmp_path / "o")
    c = record["configuration"]
    assert (c["preset"], c["overrides"], c["whole_patches"], c["window"]) == (f"{method}/{dataset}", {}, False, 224)
    if method == "sclip":
        assert (c["logit_scale"], c["prob_thd"], c["area_thd"], c["class_names"]) == (65, 0.1, 0.1, "naclip_voc21.txt")
        assert record["published"] == {"mIoU": 0.5963}
        assert record["unlike_published"] == ["model CLIP", "2 of 1449 pictures"]
    else:
        assert (c["short_side"], c["stride"], c["class_names"]) == (560, 112, "sfp_city_scapes.txt")
        assert record["published"] is None and record["classes"][11]["name"] == "people"
    assert record["pictures"]["failed"] == {} and record["note"] is None


def test_bad_pictures_are_listed_and_the_rest_is_measured(run, voc, tmp_path):
    home = voc / "VOCdevkit/VOC2012"
    (home / "JPEGImages/2007_000033.jpg").write_text("no picture")
    label = home / "SegmentationClass/2007_000034.png"
    tiny_data.write_label(label, np.full(tiny_data.SIZE, 77, np.uint8))
    options = ("--dataset", "voc21", "--root", voc, *SMALL)
    code, _, err = run(*options)
    assert (code, err.count("\n")) == (2, 1)  # the first label that can be read says what is wrong with all
    assert "holds 77" in err
    tiny_data.write_label(label, np.zeros(tiny_data.SIZE, np.uint8), "palette")
    label.write_bytes(label.read_bytes()[:-30])
    code, out, err = run(*options)
    assert code == 2
    errors = err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("error: 2007_000033: cannot read ") and "not a picture" in errors[0]
    assert errors[1].startswith("error: 2007_000034: cannot read the label ")
    result = result_of(tmp_path / "out/evaluation/voc21_naclip_torch")
    assert list(result["pictures"]["failed"]) == ["2007_000033", "2007_000034"]
    assert "(1 picture, 2 of 3 could not be measured)" in out and result["figures"]["aAcc"] is not None
    tiny_data.make("voc21", tmp_path / "whole")
    for kind, stem in (("JPEGImages", "2007_000033.jpg"), ("SegmentationClass", "2007_000034.png")):
        (home / kind / stem).write_bytes((tmp_path / "whole/VOCdevkit/VOC2012" / kind / stem).read_bytes())
    code, _, err = run(*options)
    assert (code, err) == (0, "")
    mended = result_of(tmp_path / "out/evaluation/voc21_naclip_torch")
    run("--dataset", "voc21", "--root", tmp_path / "whole", "--out", tmp_path / "fresh", *SMALL)
    assert mended == result_of(tmp_path / "fresh")


def test_a_lack_of_memory_costs_its_picture_alone_and_a_bug_ends_the_run(run, voc, tmp_path, monkeypatch):
    from core.segment.segmenter import Segmenter

    errors, labels = [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")], Segmenter.labels

    def failing(*arguments):
        if errors:
            raise errors.pop(0)
        return labels(*arguments)

    monkeypatch.setattr(Segmenter, "labels", failing)
    options = ("--dataset", "voc21", "--root", voc, *SMALL)
    code, out, err = run(*options)
    stems = [tiny_data.stem("voc21", index) for index in range(2)]
    assert (code, err) == (2, "".join(f"error: {stem}: not enough memory for it\n" for stem in stems))
    assert "(1 picture, 2 of 3 could not be measured)" in out
    errors.append(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        run(*options)


def test_a_label_that_has_changed_ends_the_resumption(run, voc):
    options = ("--dataset", "voc21", "--root", voc, *SMALL)
    assert run(*options)[0] == 0
    tiny_data.write_label(voc / "VOCdevkit/VOC2012/SegmentationClass/2007_000034.png", np.zeros(tiny_data.SIZE, np.uint8))
    code, _, err = run(*options)
    assert code == 2 and "2007_000034 has changed since it was measured" in err and err.count("\n") == 1
    assert run(*options, "--restart")[0] == 0


def test_a_folder_in_the_result_s_place_is_one_line(run, voc, tmp_path):
    (tmp_path / "out/result.json").mkdir(parents=True)
    code, _, err = run("--dataset", "voc21", "--root", voc, "--out", tmp_path / "out", *SMALL)
    assert code == 2 and err.startswith("error: cannot write ") and err.count("\n") == 1


def test_killed_and_interrupted_it_goes_on_to_the_very_same_result(tmp_path):
    home = tiny_data.make("voc20", tmp_path / "data", n=12)
    arguments = ["--dataset", "voc20", "--root", str(tmp_path / "data"), *SMALL]

    def answer_to_ctrl_c():
        """What starts the tests may ignore it, as a shell does for what runs behind it, and children would inherit that."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def start(out):
        command = [sys.executable, "-c", STALLING, *arguments, "--out", str(out)]
        return subprocess.Popen(command, cwd=SCRIPTS.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=ONE_THREAD, preexec_fn=answer_to_ctrl_c)  # fmt: skip

    whole = start(tmp_path / "whole")
    assert (whole.communicate()[1], whole.returncode) == ("", 0)

    def stall(index):
        """Makes the run surely wait at a picture; gives the file whose end lets it go on."""
        path = home / f"SegmentationClass/{tiny_data.stem('voc20', index)}.png.stall"
        path.touch()
        return path

    def wait_for(journal, n_lines):
        for _ in range(6000):
            if journal.exists() and journal.read_bytes().count(b"\n") >= n_lines:
                return
            time.sleep(0.01)
        raise AssertionError("the run did not get so far in a minute")

    journal = tmp_path / "cut/journal.jsonl"
    for index, way in ((4, signal.SIGINT), (8, signal.SIGKILL)):
        stalled = stall(index)
        cut = start(tmp_path / "cut")
        wait_for(journal, 1 + index)
        cut.send_signal(way)
        if way == signal.SIGINT:
            time.sleep(0.2)  # the answer to Ctrl-C begins before the reader's thread is let go
            stalled.unlink()
        said = cut.communicate()[1]
        assert cut.returncode == (130 if way == signal.SIGINT else -signal.SIGKILL)
        assert way == signal.SIGKILL or said == "\ninterrupted; the same command goes on from here\n"
        assert not (tmp_path / "cut/result.json").exists()
        stalled.unlink(missing_ok=True)
    with journal.open("ab") as file:
        file.write(b'{"picture": "2007_0000')  # a line that a kill has cut
    before = journal.read_bytes().count(b"\n")
    assert before == 1 + 8
    last = start(tmp_path / "cut")
    assert (last.communicate()[1], last.returncode) == ("", 0)
    assert (tmp_path / "cut/result.json").read_bytes() == (tmp_path / "whole/result.json").read_bytes()
    assert journal.read_bytes() == (tmp_path / "whole/journal.jsonl").read_bytes()


def test_the_journal_of_an_older_version_is_refused_in_one_line(run, voc, tmp_path):
    options = ("--dataset", "voc21", "--root", voc, "--out", tmp_path / "o", *SMALL)
    assert run(*options)[0] == 0
    journal = tmp_path / "o/journal.jsonl"
    first, *pictures = journal.read_text().splitlines()
    header = json.loads(first)
    old = header["configuration"]  # whose PAMR was null, or its iterations and dilations
    old["pamr"] = {"num_iter": old.pop("pamr_iterations"), "dilations": old.pop("pamr_dilations")}
    journal.write_text("\n".join([json.dumps(header), *pictures, ""]))
    code, _, err = run(*options)
    assert code == 2 and err.count("\n") == 1 and "--restart" in err
    assert 'is of another run: pamr was {"num_iter": 10, "dilations": [8, 16]}, now true; pamr_iterations was null' in err
    assert run(*options, "--restart")[0] == 0


def test_the_journal_of_another_run_is_refused_unless_told_to_restart(run, voc, tmp_path):
    options = ("--dataset", "voc21", "--root", voc, "--out", tmp_path / "o", "--window", 0, "--backend", "torch")
    assert run(*options, "--short-side", 64)[0] == 0
    code, _, err = run(*options, "--short-side", 48)
    assert code == 2
    assert "is of another run: overrides.short_side was 64, now 48; short_side was 64, now 48" in err and "--restart" in err
    assert run(*options, "--short-side", 48, "--restart")[0] == 0
    assert result_of(tmp_path / "o")["configuration"]["short_side"] == 48


def test_a_run_that_is_done_measures_nothing_again(run, voc, tmp_path, monkeypatch):
    options = ("--dataset", "voc21", "--root", voc, *SMALL)
    assert run(*options)[0] == 0
    first = (tmp_path / "out/evaluation/voc21_naclip_torch/result.json").read_bytes()
    from core.segment.segmenter import Segmenter

    monkeypatch.setattr(Segmenter, "logits", lambda *arguments: pytest.fail("a picture was measured again"))
    assert run(*options)[0] == 0
    assert (tmp_path / "out/evaluation/voc21_naclip_torch/result.json").read_bytes() == first


def test_damaged_lines_of_the_journal_are_measured_again_and_said(run, voc, tmp_path):
    options = ("--dataset", "voc21", "--root", voc, "--out", tmp_path / "o", *SMALL)
    assert run(*options)[0] == 0
    journal, first = tmp_path / "o/journal.jsonl", (tmp_path / "o/result.json").read_bytes()
    whole = journal.read_text()
    for old, new, says in (
        (
            '"pixels": [',
            '"pixels": [1',
            "3 lines of {}",
        ),
        ('"picture": "2007_000033"', '"picture": "2007_000099"', "1 line of {}"),
    ):
        assert old in whole
        journal.write_text(whole.replace(old, new))
        code, _, err = run(*options)
        assert code == 0 and err.count("\n") == 1 and err.startswith(f"note: {says.format(journal)} cannot be believed")
        assert (tmp_path / "o/result.json").read_bytes() == first
        assert sorted(journal.read_text().splitlines()) == sorted(whole.splitlines())
        assert run(*options)[2] == ""


def test_a_foreign_journal_is_left_alone(run, voc, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o/journal.jsonl").write_text('{"day": 1}')
    for more in ((), ("--restart",)):
        code, _, err = run("--dataset", "voc21", "--root", voc, "--out", tmp_path / "o", *SMALL, *more)
        assert code == 2 and err.count("\n") == 1 and "is not a journal of an evaluation" in err
    assert {path.name: path.read_text() for path in (tmp_path / "o").iterdir()} == {"journal.jsonl": '{"day": 1}'}


def test_a_class_file_goes_before_the_stand_ins(run, voc, tmp_path):
    from core.scenes import PAIRS

    names = tmp_path / "names.txt"
    names.write_text("\n".join(["grass; sky, sand", *PAIRS[:20]]))
    code, out, _ = run("--dataset", "voc21", "--root", voc, "--classes-file", names, *SMALL)
    assert code == 0 and STAND_INS not in out
    result = result_of(tmp_path / "out/evaluation/voc21_naclip_torch")
    assert result["note"] is None and result["configuration"]["class_names"] == str(names)
    assert result["configuration"]["classes"][0] == "grass; sky, sand" and result["classes"][0]["name"] == "grass"
    names.write_text("\n".join(["background", *PAIRS[:20]]))
    code, _, err = run("--dataset", "voc21", "--root", voc, "--classes-file", names, *SMALL)
    assert code == 2 and "does not know the word 'background'" in err


def test_all_methods_on_a_data_set(run, voc, tmp_path):
    code, out, err = run("--dataset", "voc21", "--root", voc, "--all-methods", "--limit", 1, "--json", "all.json", *SMALL)
    assert code == 0
    assert err.splitlines() == [
        "note: clearclip+neighbourhood has no preset of its own: it is measured with naclip-no-pamr's",
        "note: naclip+fsa has no preset of its own: it is measured with naclip's",
        "note: maskclip+fsa has no preset of its own: it is measured with naclip-no-pamr's",
    ]
    records = json.loads((tmp_path / "all.json").read_text())
    assert [record["method"] for record in records] == list(measured_methods())
    by_method = {record["method"]: record["configuration"] for record in records}
    assert by_method["fsa"]["external"] == by_method["proxyclip"]["external"] == "self"
    assert by_method["fsa"]["overrides"]["external"] == "self" and by_method["scclip"]["external"] is None
    assert [by_method[m]["preset"] for m in ("sfp", "naclip+fsa")] == ["sfp/voc21", "naclip/voc21"]
    rows = [line for line in out.splitlines() if line.startswith("| voc21")]
    assert len(rows) == len(measured_methods())
    assert sum("64.07" in row for row in rows) == 1


@pytest.mark.parametrize("preset", [None, "nobody"])
def test_a_method_without_a_preset_is_measured_with_another_s(preset, run, voc, tmp_path, monkeypatch):
    mine = Method("mine", METHODS["clearclip"].recipe, takes=("neighbourhood",), preset=preset)
    monkeypatch.setitem(METHODS, "mine", mine)
    figures = {}
    for method in ("clearclip", "mine", "mine+neighbourhood"):
        code, _, err = run("--dataset", "voc21", "--root", voc, "--method", method, "--limit", 2, *SMALL)
        note = f"note: {method} has no preset of its own: it is measured with naclip-no-pamr's\n"
        assert (code, err) == (0, "" if method == "clearclip" else note)
        result = result_of(tmp_path / f"out/evaluation/voc21_{method}_torch")
        assert result["configuration"]["preset"] == "naclip-no-pamr/voc21" and result["published"] is None
        figures[method] = result["figures"]
    assert figures["mine"] == figures["clearclip"] != figures["mine+neighbourhood"]


def test_a_record_s_external_model_and_pamr_are_taken(run, voc, tmp_path, monkeypatch):
    record = METHODS["proxyclip"]
    monkeypatch.setitem(METHODS, "mine", Method("mine", record.recipe, needs=record.needs, pamr=True))
    options = ("--dataset", "voc21", "--root", voc, "--method", "mine", "--limit", 1, *SMALL)
    assert run(*options)[0] == 0
    configuration = result_of(tmp_path / "out/evaluation/voc21_mine_torch")["configuration"]
    assert (configuration["external"], configuration["pamr"]) == ("self", True)
    assert run(*options, "--model", "ViT-B-16")[::2] == (
        2, "error: mine reads another vision model: name it in external, or self for the CLIP's own middle layer\n"
    )  # fmt: skip


def test_offline_the_embedded_model_is_its_own_external_model(run, voc, tmp_path):
    assert run("--dataset", "voc21", "--root", voc, "--method", "fsa", "--limit", 1, *SMALL)[0] == 0
    configuration = result_of(tmp_path / "out/evaluation/voc21_fsa_torch")["configuration"]
    assert (configuration["external"], configuration["overrides"]["external"]) == ("self", "self")
    code, _, err = run("--dataset", "voc21", "--root", voc, "--external", "self", *SMALL)
    assert code == 2 and "naclip reads no external model" in err


def test_the_jittor_backend_as_a_user_runs_it(tmp_path):
    backend_or_skip("jittor")
    tiny_data.make("cityscapes", tmp_path / "data")
    command = [*COMMAND, "--dataset", "cityscapes", "--root", str(tmp_path / "data"), "--method", "naclip",
               "--out", str(tmp_path / "o"), "--short-side", "64", "--window", "0", "--limit", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert "| cityscapes | naclip | jittor | embedded | 2 |" in done.stdout
    assert result_of(tmp_path / "o")["configuration"]["backend"] == "jittor"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dataset", "voc20"), "--dataset voc20 needs --root DIR"),
        (("--dataset", "voc20", "--root", "nowhere"), "voc20: there is no folder nowhere"),
        (("--dataset", "voc20", "--root", ".", "--prob-thd", "0.1"), "prob_thd is a threshold against the background"),
        (("--dataset", "voc20", "--root", ".", "--seed", "1"), "--seed makes no sense for the data set voc20"),
        (("--dataset", "voc20", "--root", ".", "--method", "nonsense"), "unknown method 'nonsense'"),
        (("--dataset", "voc20", "--root", ".", "--workers", "0"), "--workers must be at least 1"),
        (("--dataset", "voc20", "--root", ".", "--option", "beta=1"), "method naclip has no option beta"),
        (("--dataset", "voc20", "--root", ".", "--option", "window=0"), "method naclip has no option window"),
        (("--dataset", "voc20", "--root", ".", "--external", "self"), "naclip reads no external model"),
        (("--dataset", "voc20", "--root", ".", "--window", "64", "--stride", "80"), "stride must be at most the window (64)"),
        (("--method", "naclip", "--option", "window=0"), "method naclip has no option window"),
        (("--area-thd", "0.1"), "--area-thd makes no sense for the scenes"),
        (("--pamr",), "are one method's: name it with --method"),
        (("--external", "self"), "are one method's: name it with --method"),
        (("--all-methods", "--no-pamr"), "are one method's: name it with --method"),
        (("--dataset", "voc20", "--root", ".", "--derive-labels"), "--derive-labels is for"),
        (("--root", "."), "--root makes no sense for the scenes"),
        (("--prob-thd", "0.1"), "--prob-thd makes no sense for the scenes"),
        (("--option", "beta=1"), "are one method's: name it with --method"),
        (("--limit", "0"), "--limit must be at least 1"),
        (("--search", "--search-seed", "1000"), "--search-seed must not be --seed"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(arguments, says, run):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_labels_are_derived_by_the_command(run, tmp_path):
    home = tiny_data.make("coco_object", tmp_path / "data")
    for path in (home / "annotations/val2017").iterdir():
        values = np.minimum(read_label(path), 10)
        path.unlink()
        tiny_data.write_label(path.with_name(path.name.replace("_instanceTrainIds", "")), values)
    options = ("--dataset", "coco_object", "--root", tmp_path / "data")
    assert "--derive-labels" in run(*options)[2]
    assert run(*options, "--derive-labels") == (0, "3 label pictures written, 0 were there\n", "")
    assert run(*options, *SMALL)[0] == 0


def test_reading_ahead_is_bounded_and_keeps_the_order():
    read = []
    loaded = load_ahead(range(40), lambda sample: read.append(sample) or sample * 2, workers=2)
    for index, (sample, future) in enumerate(loaded):
        assert (sample, future.result()) == (index, 2 * index)
        assert len(read) <= index + 6
    assert index == 39

"""The command `scripts/parity.py`: its reports, a user's own picture, bad calls."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parity_tools import bad_call, check_page, not_a_number, off_by_a_thousandth
from PIL import Image
from scripts_as_modules import SCRIPTS, load_command

from core import InputError, load_backend
from core.files.records import save_record
from core.parity.cases.catalogue import DTYPES, choose_cases, seeded_cases
from core.parity.dumps import save_dump
from core.parity.report.chart import panel_scales
from core.parity.runs import run_cases


def test_list_names_every_case(parity):
    done = parity("--list")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == [case.name for case in seeded_cases()]
    assert [line.split()[0] for line in parity("--list", "--only", "sfp:*").out.splitlines()] == [
        "sfp:detector=L2", "sfp:detector=LOF", "sfp:attention=notes",
    ]  # fmt: skip


def test_a_report_in_three_forms(torch, parity):
    files = ("--json", "new/r.json", "--html", "new/r.html")
    done = parity("--backends", "torch", "numpy", "--only", "pamr", "fsa", "argmax", *files)
    assert done.code == 0 and done.err == ""
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ") and "e-" in line] == ["pamr", "fsa"]
    assert "PASSED: 3 cases, numpy-torch, float32 and float64" in done.out and "* float32 without pruning" in done.out
    record = json.loads(Path("new/r.json").read_text())
    assert record["passed"] and [run["backend"] for run in record["runs"]] == ["numpy", "torch"]
    assert all(run["numpy"] and run["platform"] for run in record["runs"])
    assert [(r["case"], r["dtype"], r["tolerance"]) for r in record["rows"]] == [
        ("argmax", "float32", 1e-5), ("argmax", "float64", 1e-10), ("pamr", "float32", 1e-5), ("pamr", "float64", 1e-10),
        ("fsa", "float32", 1e-4), ("fsa", "float64", 1e-10),
    ]  # fmt: skip
    assert record["rows"][0]["agreement"] == 1 and record["rows"][2]["agreement"] is None
    assert 0 < record["rows"][2]["relative"] < 1e-5 and record["rows"][4]["note"]
    check_page(Path("new/r.html").read_text(encoding="utf-8"))


def test_a_page_shows_the_failure(torch, monkeypatch, parity):
    monkeypatch.setattr(torch, "pamr", not_a_number(torch.pamr))
    done = parity("--backends", "numpy", "torch", "--only", "pamr", "naclip", "--html", "r.html", "--json", "r.json")
    page = Path("r.html").read_text(encoding="utf-8")
    check_page(page)
    assert done.code == 1 and "FAILED" in page and "NaN on torch&#x27;s side" in page and "✕ pamr" in page
    failed = [r for r in json.loads(Path("r.json").read_text())["rows"] if not r["passed"]]
    assert {r["case"] for r in failed} == {"pamr"} and all(r["relative"] is None for r in failed)


def test_marks_lie_where_the_differences_are():
    scale = panel_scales(["float32", "float64"])["float64"]
    places = [scale.at(x) for x in (0.0, 1e-30, 1e-16, 1e-10, 1e-9, 1.0, np.inf)]
    assert places[0] < places[1] < places[2] < places[3] < places[4] < places[5] == places[6]
    assert places[4] - places[3] == pytest.approx((places[3] - places[2]) / 6)


def test_a_backend_that_is_not_there_is_named_and_left_out(torch, monkeypatch, parity):
    def without_jittor(name):
        if name == "jittor":
            raise InputError("the jittor backend needs jittor: pip install jittor")
        return load_backend(name)

    monkeypatch.setattr(load_command("parity"), "load_backend", without_jittor)
    done = parity("--only", "exp")
    assert done.code == 0 and done.err == "note: left out: the jittor backend needs jittor: pip install jittor\n"
    bad_call(parity("--only", "exp", "--backends", "numpy", "jittor"), "pip install jittor")
    bad_call(parity("dump", "--backend", "jittor", "--out", "j.npz"), "pip install jittor")


@pytest.mark.parametrize(("argv", "says"), [
    ("--only nacl", "no case is called 'nacl': did you mean naclip?"),
    ("--only naclip zzz", "no case is called 'zzz': --list names all"),
    ("--backends numpy --only exp", "needs two backends and there is numpy"),
    ("--backends numpy magic", "invalid choice: 'magic'"),
    ("--dtypes float16", "invalid choice: 'float16'"),
    ("--json .", "it is a folder"),
    ("--html a.txt/r.html", "cannot write to a.txt: it is a file"),
    ("--method naclip", "--method goes with a picture of your own"),
    ("--classes cat", "--classes goes with a picture of your own"),
    ("--no-pamr", "--pamr goes with a picture of your own"),
    ("--window 0", "--window goes with a picture of your own"),
    ("--quick-gelu", "--quick-gelu goes with a picture of your own"),
    ("--option gaussian_std=2", "--option goes with a picture of your own"),
    ("--picture a.txt", "--picture needs --classes"),
    ("--picture a.txt --classes cat --only naclip", "takes no --only"),
    ("--picture a.txt --classes cat", "cannot read a.txt"),
    ("--picture none.png --classes cat", "there is no such file"),
    ("--picture a.txt --classes cat --method magic", "unknown method 'magic'"),
    ("--picture a.png --classes cat Cat", '"Cat" is in the list twice'),
    ("--picture a.png --classes zebra", "zebra"),
    ("--picture a.png --classes brick --method fsa", "reads another vision model"),
    ("--picture a.png --classes brick --option std=2", "method naclip has no option std"),
    ("--picture a.png --classes brick --logit-scale 0", "argument --logit-scale: it must be a number above 0"),
    ("--magic", "unrecognized arguments: --magic"),
    ("dump --backend numpy", "--out"),
    ("dump --backend magic --out a.npz", "invalid choice: 'magic'"),
    ("dump --backend numpy --out d.npz --only nacl", "did you mean naclip?"),
    ("dump --backend numpy --out d.npz --features a.txt", "a.txt is not a features file"),
    ("dump --backend numpy --out d.npz --features none.npz", "no features file none.npz"),
    ("dump --backend numpy --out a.txt/d.npz", "cannot write to a.txt: it is a file"),
    ("compare good.npz", "DUMP"),
    ("compare good.npz none.npz", "no dump none.npz"),
    ("compare good.npz a.txt", "a.txt is not a dump"),
    ("compare good.npz .", ". is a folder"),
    ("compare good.npz good.npz", "given twice"),
    ("compare good.npz other.npz", "other.npz is not a dump"),
    ("compare good.npz pickle.npz", "pickle.npz is not a dump"),
    ("compare good.npz short.npz", "short.npz is not a dump"),
    ("compare good.npz empty.npz", "empty.npz is not a dump"),
    ("compare good.npz lacking.npz", "some of its cases lack their outcome"),
    ("compare good.npz words.npz", "not of numbers"),
    ("compare good.npz old.npz", "not a dump that this version wrote: ValueError: its format is 'jittor-ovseg parity 1'"),
    ("compare good.npz fewer.npz", "run both with the same --only"),
    ("compare good.npz foreign.npz", "the inputs of numpy (good) and numpy (foreign) differ, first in exp float32 1: 2x3x5"),
])  # fmt: skip
def test_a_bad_call_gives_one_line_and_code_2(torch, parity, argv, says):
    numpy = load_backend("numpy")
    cases = choose_cases(seeded_cases(), ["exp", "log"])
    run = run_cases(numpy, cases, DTYPES)
    save_dump(run, "good.npz")
    save_dump(run_cases(numpy, cases[:1], DTYPES), "fewer.npz")
    Path("short.npz").write_bytes(Path("good.npz").read_bytes()[:2000])
    Path("empty.npz").touch()
    run.inputs = dict.fromkeys(run.inputs, "0" * 64)
    save_dump(run, "foreign.npz")
    (last, _) = run.outcomes.popitem()
    save_dump(run, "lacking.npz")
    run.outcomes[last] = {"result": np.array(["word"])}
    save_dump(run, "words.npz")
    save_record("old.npz", "parity 1", {"label": "numpy", "about": {"links": ["part", "kernel", ""]}}, {})
    np.savez("other.npz", x=np.zeros(3))
    np.savez("pickle.npz", facts=np.array([{"a": 1}], dtype=object))
    Path("a.txt").write_text("no picture, no dump")
    Image.new("RGB", (64, 48), "red").save("a.png")
    before = sorted(path.name for path in Path().iterdir())
    bad_call(parity(*argv.split()), says)
    assert sorted(path.name for path in Path().iterdir()) == before


def test_bad_options_load_no_framework(tmp_path):
    program = f"""
import runpy, sys
sys.argv = ["parity.py", *sys.argv[1:]]
try: runpy.run_path({str(SCRIPTS / "parity.py")!r}, run_name="__main__")
except SystemExit as left: print(left.code, [name for name in ("torch", "jittor", "PIL") if name in sys.modules])
"""
    for bad in (["--only", "nacl"], ["--json", "."], ["dump", "--out", "x"], ["compare", "a.npz", "b.npz"]):
        done = subprocess.run([sys.executable, "-c", program, *bad], capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout == "2 []\n" and done.stderr.startswith("error: "), done


# A user's own picture


@pytest.fixture
def scene(tmp_path) -> Path:
    """A red circle on green, 60 x 80, as a file."""
    rows, columns = np.mgrid[:60, :80]
    inside = ((rows - 30) ** 2 + (columns - 35) ** 2 < 300)[..., None]
    path = tmp_path / "scene.png"
    Image.fromarray(np.where(inside, (220, 40, 30), (60, 140, 60)).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("argv", ["--method naclip", "--method scclip+fsa", "--method proxyclip --external self --no-pamr"])
def test_a_picture_through_two_backends(torch, parity, scene, argv):
    words = ["--classes", "red circle,red ring", "blue square", "grass"]
    given = [*words, "--backends", "numpy", "torch", *argv.split(), "--json", "r.json", "--html", "r.html"]
    done = parity("--picture", str(scene), *given)
    assert done.code == 0, done.err
    record = json.loads(Path("r.json").read_text())
    method = argv.split()[1]
    tolerance = 2e-3 if "fsa" in method else 1e-4
    assert [(r["case"], r["dtype"], r["tolerance"]) for r in record["rows"]] == [
        (f"{method}: patch embeddings", "float32", tolerance),
        (f"{method}: patch embeddings", "float64", 1e-10),
        (f"{method}: pixels", "float32", tolerance),
    ]
    assert all(r["agreement"] > 0.99 and r["relative"] > 0 for r in record["rows"])
    assert record["method"] == method and record["rows"][2]["trial"] == "60x80"
    page = Path("r.html").read_text(encoding="utf-8")
    check_page(page)
    assert page.count('alt="labels by ') == 2 and page.count('class="map"') == 2


def test_a_picture_is_compared_with_all_settings_that_are_given(torch, parity, scene):
    method = "--option gaussian_std=2 --option arch=vanilla --logit-scale 20"
    around = "--short-side 128 --window 64 --pamr-iterations 2 --pamr-dilations 1,3"
    given = ("--classes", "red circle", "grass", "--backends", "numpy", "torch", "--dtypes", "float32")
    for name, settings in (("set", f"{method} {around}"), ("plain", "")):
        done = parity("--picture", str(scene), *given, *settings.split(), "--json", f"{name}.json")
        assert done.code == 0, done.err
    chosen, published = (json.loads(Path(f"{name}.json").read_text()) for name in ("set", "plain"))
    own = {"gaussian_std": 2, "arch": "vanilla", "logit_scale": 20.0, "short_side": 128, "window": 64,
           "pamr_iterations": 2, "pamr_dilations": [1, 3]}  # fmt: skip
    assert {name: chosen[name] for name in own} == own and not own.keys() & published.keys()
    assert [int(r["rows"][0]["trial"].split(" x ")[0]) for r in (chosen, published)] == [15, 1]  # windows


def test_a_fault_behind_the_head_is_found_on_a_picture(torch, monkeypatch, parity, scene):
    monkeypatch.setattr(torch, "pamr", off_by_a_thousandth(torch.pamr))
    done = parity("--picture", str(scene), "--classes", "red circle", "grass", "--backends", "numpy", "torch")
    assert done.code == 1 and "! naclip: pixels, numpy-torch, float32, 60x80: logits" in done.out
    assert "! naclip: patch embeddings" not in done.out

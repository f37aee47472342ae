"""The benchmark: its textbook forms against the primitives, its clock and verdicts, and the command on tiny sizes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from compare import assert_close
from conftest import backend_or_skip
from fake_clip import FakeClip, stripes
from PIL import Image
from scripts_as_modules import SCRIPTS, load_script, run

from core import Segmenter
from core.methods.feedback import guarded_log, kl_divergence

sys.path.insert(0, str(SCRIPTS))

from benchmarking import cases, growth, measure, pictures, plot, primitives, rows
from benchmarking.lines import Line, describe, figure, verdict, wanted
from benchmarking.settings import Settings

TINY = ("--picture", "40x52", "--classes", "3", "--tokens", "70", "--width", "64", "--grid", "6x8", "--repeat", "2",
        "--model", "embedded")  # fmt: skip


@pytest.fixture
def command():
    return load_script("benchmark")


@pytest.fixture
def call(command, capsys, tmp_path, monkeypatch):
    """Runs the command on tiny sizes, in a folder of its own."""
    backend_or_skip("torch")
    monkeypatch.chdir(tmp_path)
    return lambda *argv: run(command, capsys, *TINY, *argv)


@pytest.fixture
def textbook():
    """The textbook forms, from NumPy to NumPy."""
    torch = backend_or_skip("torch")
    from benchmarking import textbook

    def through_torch(form):
        return lambda *arrays, **options: form(*map(torch.asarray, arrays), **options).numpy()

    names = ("pamr", "local_outlier_factor", "kl_divergence")
    return SimpleNamespace(**{name: through_torch(getattr(textbook, name)) for name in names})


@pytest.mark.parametrize("dilations", [(1,), (2, 5), (8, 16)])
def test_textbook_pamr(ops, textbook, rng, dtype, dilations):
    image, mask = rng.random((2, 3, 21, 30)).astype(dtype), rng.random((2, 4, 6, 7)).astype(dtype)
    expected = textbook.pamr(image, mask, num_iter=3, dilations=dilations)
    assert_close(ops.pamr(image, mask, 3, dilations), expected)


@pytest.mark.parametrize("n", [60, 12])
def test_textbook_lof(ops, textbook, rng, n):
    x = rng.standard_normal((n, 9))
    x[3] *= 5
    assert_close(ops.local_outlier_factor(x, n_neighbors=20), textbook.local_outlier_factor(x, n_neighbors=20), "head")


def test_textbook_kl(ops, textbook, rng, dtype):
    p = rng.random((23, 7)).astype(dtype) ** 4
    p /= p.sum(axis=1, keepdims=True)
    native = ops.asarray(p[None])
    log = guarded_log(ops, native)
    assert_close(ops.to_numpy(kl_divergence(ops, native, log, log))[0], textbook.kl_divergence(p))


def test_competitors_are_called_in_turns(monkeypatch):
    monkeypatch.setattr(measure, "PAUSE", 0)
    called = []
    timed = measure.in_turns({"a": lambda: called.append("a") or "A", "b": lambda: called.append("b")}, 3)
    assert "".join(called) == "aabb" + "ababab"
    assert timed["a"].result == "A" and len(timed["a"].seconds) == 3


def test_slow_competitors_are_called_less(monkeypatch):
    seconds = {"quick": 0.1, "slow": 1.0, "very slow": 20.0}
    monkeypatch.setattr(measure, "clock", lambda call: (None, seconds[call()]))
    timed = measure.in_turns({name: lambda name=name: name for name in seconds}, 7)
    assert {name: len(timed[name].seconds) for name in seconds} == {"quick": 7, "slow": 3, "very slow": 1}


def test_agreement():
    measure.check_agreement("same", np.ones(3), np.ones(3) + 5e-5)
    for other in (np.ones(3) + 5e-4, np.full(3, np.nan), np.ones(4)):
        with pytest.raises(measure.Disagreement, match="case"):
            measure.check_agreement("case", np.ones(3), other)


def test_a_line_says_whether_its_target_is_met():
    assert Line("r", "what", 231, "x", "at least", 200).met and not Line("r", "what", 199, "x", "at least", 200).met
    assert Line("r", "what", 0.07, "", "at most", 0.1).met and not Line("r", "what", 0.11, "", "at most", 0.1).met
    assert Line("r", "what", 0.07).met is None and Line("r", "what", None, "", "at most", 0.1).met is None
    missed = Line("r", "what", 74.1, "MB", "at most", 43.5)
    assert (figure(missed), wanted(missed), verdict(missed)) == ("74.1 MB", "<= 43.5 MB", "MISSED")
    assert figure(Line("r", "what")) == "not run"
    assert describe(measure.Timed((0.0271, 0.0259, 0.0286))) == "27.1 ms (25.9 to 28.6)"
    assert describe(measure.Timed((18.61,))) == "18.6 s (once)"


def test_the_command_measures_every_kind_of_row(call):
    backend_or_skip("jittor")
    chosen = ("pamr", "lof", "kl", "fsa", "naclip", "windows", "second-call")
    done = call("--backends", "torch", "jittor", "--only", *chosen, "--json", "out/r.json", "--markdown")
    assert done.code == 0, done.err
    record = json.loads(Path("out/r.json").read_text())
    assert set(record) == {"machine", "threads", "versions", "commit", "date", "settings", "rows", "errors"}
    assert record["machine"]["cores"] >= 1 and record["threads"].keys() == {"torch", "jittor"}
    assert {"python", "numpy", "torch", "jittor", "open_clip_torch"} <= record["versions"].keys()
    assert record["settings"]["picture"] == [40, 52] and record["errors"] == {}
    assert {row["row"] for row in record["rows"]} == set(chosen)
    assert all(row["value"] >= 0 and row["what"] in done.out for row in record["rows"])
    assert done.out.count("\n| ") == 1 + len(record["rows"])  # the table in Markdown, with its head
    encoded = [row["value"] for row in record["rows"] if row["row"] == "second-call"]
    assert encoded == [0, 0, 0]  # phrases on both, and kernels on Jittor
    ratios = [row for row in record["rows"] if row["unit"] == "x"]
    assert ratios and all(len(row["seconds"]["over"]) == 2 and row["value"] > 0 for row in ratios)


def test_memory_is_measured_in_a_process_of_its_own(call):
    done = call("--backends", "numpy", "--only", "pamr-memory", "--picture", "400x500", "--json", "r.json")
    assert done.code == 0, done.err
    (row,) = json.loads(Path("r.json").read_text())["rows"]
    affinity, mask = (4e-6 * n * 400 * 500 for n in (16, 3))
    assert row["target"] == pytest.approx(affinity + 2 * mask)
    assert affinity < row["value"] < 10 * (affinity + mask)


def test_heads_over_a_backbone_in_half_precision():
    ops = backend_or_skip("torch")
    settings = Settings(picture=(40, 52), classes=3, width=64, repeat=1, model="embedded")
    lines = list(pictures.over_backbone(ops, settings, "cpu", "bf16"))
    assert len(lines) == 10 and all(line.value > 0 and line.target == 0.2 for line in lines)


def test_what_the_rows_are_is_told(call):
    assert [line.split()[0] for line in call("--list").out.splitlines()] == list(rows.ROWS)


@pytest.mark.parametrize(("argv", "says"), [
    (("--picture", "375"), "375x500"),
    (("--picture", "4x4"), "--picture must be at least 32 along each side"),
    (("--grid", "1x9"), "--grid must be at least 2"),
    (("--classes", "0"), "--classes must be at least 1"),
    (("--tokens", "1"), "--tokens must be at least 2"),
    (("--width", "100"), "multiple of 64"),
    (("--repeat", "0"), "--repeat must be at least 1"),
    (("--repeat", "-1"), "--repeat"),
    (("--only", "everything"), "everything"),
    (("--backends", "tensorflow"), "tensorflow"),
    (("--json", "."), "it is a folder"),
    (("--growth", "g.png", "--only", "pamr"), "not allowed with"),
])  # fmt: skip
def test_a_bad_call_is_one_line(call, argv, says):
    done = call(*argv)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("error: ") and len(done.err.splitlines()) == 1 and says in done.err


def test_a_textbook_that_disagrees_stops_the_benchmark(call, monkeypatch):
    right = primitives.textbook.kl_divergence
    monkeypatch.setattr(primitives.textbook, "kl_divergence", lambda p: right(p) * 1.001)
    done = call("--backends", "numpy", "--only", "lof", "kl", "pamr", "--json", "r.json")
    assert done.code == 1 and "error: stopped: kl on numpy and its textbook form: the results differ by 1.0e-03" in done.err
    assert [row["row"] for row in json.loads(Path("r.json").read_text())["rows"]] == ["lof"]


def test_a_row_that_fails_loses_no_other(call, monkeypatch):
    def failing(settings):
        yield Line("lof", "a line before", 1.0)
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setitem(rows.ROWS, "lof", failing)
    done = call("--backends", "numpy", "--only", "lof", "kl", "--json", "r.json")
    assert done.code == 2 and "error: lof: RuntimeError: no such kernel\n" in done.err
    record = json.loads(Path("r.json").read_text())
    assert [row["row"] for row in record["rows"]] == ["lof", "kl"] and list(record["errors"]) == ["lof"]


def test_too_little_memory_for_the_textbook_is_said(call, monkeypatch):
    monkeypatch.setattr(primitives, "memory_bytes", lambda name: 4 * 64 * 66 * 66 * 1.05)
    done = call("--backends", "numpy", "--only", "lof", "kl")
    assert done.code == 0 and "not run" in done.out and "give --tokens 64" in done.out and "\nkl " in done.out


def test_labels_that_differ_between_batch_sizes_are_seen():
    class Stub:
        def __init__(self, difference, label):
            self.query = lambda words: words
            self.logits = lambda image, query: np.stack([np.full((4, 4), 0.3), np.full((4, 4), 0.3 - difference)])
            self.labels = np.full((4, 4), label)

        def __call__(self, image, query):
            return self

    def compare(one, many):
        pictures.check_same(backend_or_skip("numpy"), one, many, None, ["a", "b"])

    compare(Stub(0.2, 0), Stub(0.2, 0))
    compare(Stub(1e-6, 0), Stub(1e-6, 1))  # as good as equal: either label is right
    with pytest.raises(measure.Disagreement, match="labels"):
        compare(Stub(0.2, 0), Stub(0.2, 1))
    with pytest.raises(measure.Disagreement, match="results differ"):
        compare(Stub(0.2, 0), Stub(0.21, 0))


def test_after_the_backbone_the_tower_rests_and_the_result_is_the_same(monkeypatch):
    (image, truth), words, clip = stripes(["red", "green", "blue"], 36, 18), ["red", "green", "blue"], FakeClip()
    segmenter = Segmenter("maskclip", "numpy", model=clip, window=0, short_side=32)
    calls = pictures.after_backbone(segmenter, image, words), pictures.tower(segmenter, image)
    assert calls[1]().grid == (8, 12)
    monkeypatch.setattr(clip, "features", lambda *_: pytest.fail("the tower was asked"))
    for _ in range(2):
        np.testing.assert_array_equal(calls[0]().labels, truth)
    with pytest.raises(pytest.fail.Exception, match="the tower was asked"):
        calls[1]()


def test_a_batch_of_windows_is_the_first_of_the_call():
    image, words, clip = stripes(["red", "green", "blue"], 32, 16)[0], ["red", "green", "blue"], FakeClip()
    segmenter = Segmenter("maskclip", "numpy", model=clip, window=16, stride=8, short_side=32, batch_size=4)
    assert len(segmenter.view(image).boxes) == 15
    logits = pictures.first_batch(segmenter, image, segmenter.query(words))()
    assert logits.shape == (4, 3, 16, 16)
    assert [one.argmax(axis=0)[8, 8] for one in logits] == [0, 1, 1, 2]


def test_tokens_lie_in_regions_as_a_middle_layer_s_do(rng):
    x = cases.regions(rng, (1, 400, 768))[0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = (x @ x.T)[~np.eye(400, dtype=bool)]
    within = cosines > 0.5
    assert within.mean() == pytest.approx(1 / cases.N_REGIONS, abs=0.03)
    assert cosines[within].mean() == pytest.approx(2 / 3, abs=0.02)
    assert cosines[~within].mean() == pytest.approx(1 / 3, abs=0.02)


def test_growth_is_drawn(call, monkeypatch):
    pytest.importorskip("matplotlib")
    sizes = [(n, {"method": "naclip", "classes": 3, "width": 64, "grid": (n, n)}) for n in (3, 5)]
    monkeypatch.setattr(growth, "SERIES", (growth.Series("heads", "naclip", "head", sizes, ("numpy",)),))
    done = call("--backends", "numpy", "--growth", "pictures/growth.png", "--json", "r.json")
    assert done.code == 0, done.err
    with Image.open("pictures/growth.png") as image:
        assert image.format == "PNG" and image.width > 600
    points = json.loads(Path("r.json").read_text())["growth"]
    assert [(point["x"], point["backend"]) for point in points] == [(3, "numpy"), (5, "numpy")]
    assert all(point["seconds"] > 0 and point["extra_bytes"] >= 0 for point in points)
    assert [path.name for path in Path("pictures").iterdir()] == ["growth.png"]


def test_a_series_ends_where_it_becomes_slow(monkeypatch):
    monkeypatch.setattr(growth, "PATIENCE", -1)
    points = [(n, {"tokens": n, "width": 64}) for n in (10, 20, 30)]
    assert len(list(growth.follow(growth.Series("lof", "lof", "lof", points), "numpy"))) == 1


def test_without_matplotlib_the_line_says_how_to_get_it(call, monkeypatch):
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    done = call("--growth", "growth.png", "--backends", "numpy")
    assert done.code == 2 and done.err == "error: the plot needs matplotlib: pip install 'jittor-ovseg[plots]'\n"

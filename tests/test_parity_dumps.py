"""Faults in a backend, and dumps: `parity.py` finds the ones and compares the others."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import backend_or_skip
from parity_tools import (
    bad_call,
    check_page,
    failing,
    in_double,
    next_index,
    not_a_number,
    off_by_a_thousandth,
    one_short,
    transposed,
)
from scripts_as_modules import SCRIPTS

from core import METHODS, load_backend
from core.parity.cases.catalogue import DTYPES, choose_cases, seeded_cases
from core.parity.cases.inputs import generator, seeded_features
from core.parity.dumps import load_dump, save_dump
from core.parity.runs import run_cases


@pytest.mark.parametrize(("primitive", "fault", "case", "says"), [
    ("pamr", off_by_a_thousandth, "pamr", "1.0e-03 exceeds"),
    ("attention_weights", transposed, "attention_weights", "exceeds|shapes"),
    ("linear", off_by_a_thousandth, "naclip", "exceeds"),
    ("local_outlier_factor", lambda f: lambda *a, **k: -f(*a, **k), "scclip", "exceeds"),
    ("quick_gelu", not_a_number, "vanilla", "NaN on torch's side"),
    ("swap_last", one_short, "swap_last", "shapes"),
    ("norm", in_double, "norm", "dtypes"),
    ("argmax", next_index, "argmax", "differ that are clear"),
    ("k_smallest", failing, "k_smallest", "torch raises RuntimeError: no such kernel"),
])  # fmt: skip
def test_a_faulty_backend_fails(torch, monkeypatch, parity, primitive, fault, case, says):
    monkeypatch.setattr(torch, primitive, fault(getattr(torch, primitive)))
    done = parity("--backends", "numpy", "torch", "--only", case, "matmul")
    assert done.code == 1
    failures = [line for line in done.out.splitlines() if line.startswith("  ! ")]
    assert failures and all(line.startswith(f"  ! {case}, numpy-torch, float") for line in failures)
    in_single = [line for line in failures if "float32" in line]
    assert in_single and all(re.search(says, line) for line in in_single)
    assert done.out.splitlines()[-1].endswith(f"beyond tolerance in 1: {case}")


def test_nan_on_both_sides_is_no_agreement(torch, monkeypatch, parity):
    for ops in (torch, load_backend("numpy")):
        monkeypatch.setattr(ops, "gelu", not_a_number(ops.gelu))
    done = parity("--backends", "numpy", "torch", "--only", "gelu")
    assert done.code == 1 and "NaN on numpy's side" in done.out


def test_a_primitive_without_a_case_fails(torch, monkeypatch, parity):
    for ops in (torch, load_backend("numpy")):
        monkeypatch.setattr(ops, "convolve", lambda x: x, raising=False)
    done = parity("--backends", "numpy", "torch", "--dtypes", "float32", "--json", "r.json")
    assert done.code == 1 and "no case for convolve" in done.out
    assert [r["problem"] for r in json.loads(Path("r.json").read_text())["rows"] if not r["passed"]] == ["no case for convolve"]


# Dumps


def test_a_dump_survives_saving(tmp_path):
    run = run_cases(load_backend("numpy"), choose_cases(seeded_cases(), ["k_smallest", "naclip", "outliers:*"]), DTYPES, True)
    run.errors["naclip", "float32", "1"] = "RuntimeError: x"
    run.inputs["naclip", "float32", "1"] = "digest"
    save_dump(run, tmp_path / "a.npz")
    loaded = load_dump(tmp_path / "a.npz")
    assert (loaded.label, loaded.facts, loaded.about, loaded.primitives) == (run.label, run.facts, run.about, run.primitives)
    assert loaded.inputs == run.inputs and loaded.errors == run.errors and loaded.outcomes.keys() == run.outcomes.keys()
    for key, outcome in run.outcomes.items():
        assert all(np.array_equal(loaded.outcomes[key][name], x) for name, x in outcome.items())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_two_dumps_are_compared_like_two_backends(torch, parity):
    assert parity("dump", "--backend", "torch", "--out", "dumps", "--only", "pamr", "sfp").code == 0
    assert parity("dump", "--backend", "numpy", "--out", "n.npz", "--only", "pamr", "sfp").code == 0
    across = parity("compare", "n.npz", "dumps/parity-torch.npz", "--json", "a.json", "--html", "a.html")
    here = parity("--backends", "numpy", "torch", "--only", "pamr", "sfp", "--json", "b.json")
    assert across.code == here.code == 0
    a, b = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert a["rows"] == b["rows"] and a["runs"] == b["runs"]
    check_page(Path("a.html").read_text(encoding="utf-8"))


def test_a_faulty_dump_fails_and_says_of_which_file(torch, monkeypatch, parity):
    parity("dump", "--backend", "torch", "--out", "good.npz", "--only", "pamr", "exp")
    monkeypatch.setattr(torch, "pamr", off_by_a_thousandth(torch.pamr))
    assert parity("dump", "--backend", "torch", "--out", "bad.npz", "--only", "pamr", "exp").code == 0
    monkeypatch.setattr(torch, "exp", failing(torch.exp))
    broken = parity("dump", "--backend", "torch", "--out", "broken.npz", "--only", "pamr", "exp")
    assert broken.code == 1 and "RuntimeError: no such kernel" in broken.err
    done = parity("compare", "good.npz", "bad.npz")
    assert done.code == 1 and "! pamr, torch (good)-torch (bad), float32" in done.out and "! exp" not in done.out
    assert "exp, torch (good)-torch (broken), float64" in parity("compare", "good.npz", "broken.npz").out


def test_dumps_of_a_primitive_without_a_case_fail(torch, monkeypatch, parity):
    for ops in (torch, load_backend("numpy")):
        monkeypatch.setattr(ops, "convolve", lambda x: x, raising=False)
        parity("dump", "--backend", ops.name, "--out", f"{ops.name}.npz", "--dtypes", "float32")
    done = parity("compare", "numpy.npz", "torch.npz")
    assert done.code == 1 and "no case for convolve" in done.out


def test_dumps_of_a_user_s_own_features(torch, parity):
    seeded_features(generator("own"), 2, (6, 7), embed=8).save("own.npz")
    seeded_features(generator("others"), 2, (6, 7), embed=8).save("others.npz")
    chosen = ("--only", "*clip", "vanilla")
    for backend in ("numpy", "torch"):
        done = parity("dump", "--backend", backend, "--features", "own.npz", "--out", f"{backend}.npz", *chosen)
        assert done.code == 0 and "7 cases" in done.out
    done = parity("compare", "numpy.npz", "torch.npz", "--json", "r.json")
    assert done.code == 0
    record = json.loads(Path("r.json").read_text())
    assert {r["case"] for r in record["rows"]} == METHODS.keys() - {"sfp", "fsa"} | {"vanilla"}
    assert {r["trial"] for r in record["rows"]} == {"2 x 6 x 7"}
    parity("dump", "--backend", "torch", "--features", "others.npz", "--out", "torch.npz", *chosen)
    bad_call(parity("compare", "numpy.npz", "torch.npz"), "the inputs of numpy and torch differ")


def dump_without(framework: str, backend: str, tmp_path: Path) -> subprocess.CompletedProcess:
    """Dumps features and seeded cases in a process that cannot import the framework."""
    seeded_features(generator("own"), 1, (3, 4)).save(tmp_path / "own.npz")
    program = f"""
import sys
sys.modules[{framework!r}] = None
sys.path.insert(0, {str(SCRIPTS)!r})
import parity
a = parity.main(["dump", "--backend", {backend!r}, "--out", "a.npz", "--dtypes", "float32", "--only", "exp", "naclip"])
b = parity.main(["dump", "--backend", {backend!r}, "--out", "b.npz", "--dtypes", "float32", "--only", "naclip",
                 "--features", "own.npz"])
print(a, b, sorted({{"torch", "jittor", "open_clip"}} & {{name for name, m in sys.modules.items() if m is not None}}))
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)


@pytest.mark.parametrize(("backend", "absent"), [("jittor", "torch"), ("torch", "jittor"), ("numpy", "torch")])
def test_a_machine_with_one_framework_can_dump(tmp_path, backend, absent):
    backend_or_skip(backend)
    done = dump_without(absent, backend, tmp_path)
    assert done.stdout.splitlines()[-1:] == [f"0 0 {[] if backend == 'numpy' else [backend]}"], done
    for name in ("a.npz", "b.npz"):
        assert load_dump(tmp_path / name).facts["backend"] == backend

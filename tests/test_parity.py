"""Parity: what is compared, how, and that the backends agree."""

from importlib import import_module

import numpy as np
import pytest
from conftest import backend_or_skip

from core import METHODS, ClipFeatures, load_backend
from core.backends import PACKAGES
from core.methods.compose import PARTS
from core.parity.cases.catalogue import About, choose_cases, primitives_of, seeded_cases
from core.parity.cases.inputs import fingerprint, generator, normal, seeded_features
from core.parity.cases.methods import SWITCHES, VARIANTS, first_and_lead
from core.parity.cases.primitives import PRIMITIVES, on_arrays, primitive_trials
from core.parity.comparison import Row, compare_all, compare_arrays
from core.parity.report.table import passed
from core.parity.runs import Run, run_cases

DTYPES = ("float32", "float64")
FEW = ["matmul", "attention*", "pamr", "outliers:LOF", "naclip", "scclip+neighbourhood+fsa"]


# What is compared


def test_every_primitive_of_every_backend_has_a_trial(ops):
    assert primitives_of(ops) == PRIMITIVES.keys()
    assert all(len(primitive_trials(name, dtype)) >= 2 for name in PRIMITIVES for dtype in DTYPES)


def cube_of(ops):
    def cube(x):
        """The third power."""
        return ops.asarray(x) ** 3

    return cube


def test_a_new_primitive_is_its_three_files_and_one_case(torch, monkeypatch):
    """Declared in the contract and its mirrors, and given one entry of arguments, it is in every backend and compared."""
    for name in ("numpy", "torch"):
        file = import_module(f"{PACKAGES[name]}.primitives.layers")
        monkeypatch.setattr(file, "__all__", [*file.__all__, "cube"])
        monkeypatch.setattr(file, "cube", cube_of(load_backend(name)), raising=False)
    backends = [load_backend.__wrapped__(name) for name in ("numpy", "torch")]
    monkeypatch.setitem(PRIMITIVES, "cube", on_arrays(lambda draw, b, m, n: [(draw(b, m, n),)]))
    cases = choose_cases(seeded_cases(), ["cube"])
    rows = compare_all([run_cases(ops, cases, DTYPES) for ops in backends])
    assert [(found.case, found.dtype, found.problem) for found in rows] == [("cube", d, None) for d in DTYPES]
    monkeypatch.delitem(PRIMITIVES, "cube")
    rows = compare_all([run_cases(ops, choose_cases(seeded_cases(), ["exp"]), DTYPES, complete=True) for ops in backends])
    assert "cube" in rows[-1].problem


def test_every_method_and_every_part_has_a_case():
    assert METHODS.keys() <= {method for method, options in VARIANTS if not options}
    assert PARTS.keys() == {part for method, _ in VARIANTS for part in method.split("+")[1:]}
    assert {"arch", "attn_strategy", "detector", "isolate", "prune", "ensemble"} <= {o for _, own in SWITCHES for o in own}


@pytest.mark.parametrize("primitive", ["attention", "attention_weights", "linear", "nearest_neighbours", "pamr", "softmax"])
def test_a_fault_in_large_arrays_alone_is_found(torch, monkeypatch, primitive):
    """What is wrong beyond a kernel's first block: the last rows of many, the classes after the eighth."""
    right = getattr(torch, primitive)

    def wrong(*arguments, **options):
        result = right(*arguments, **options)
        first = result[0] if isinstance(result, tuple) else result
        if max(first.shape) >= 260:
            first[..., first.shape[-2] // 2 :, :] = 0
        elif primitive == "pamr" and first.shape[1] > 8:
            first[:, 8:] = 0
        return result

    cases = choose_cases(seeded_cases(), [primitive])
    honest = run_cases(load_backend("numpy"), cases, ["float32"])
    monkeypatch.setattr(torch, primitive, wrong)
    faulty = run_cases(torch, cases, ["float32"])
    assert [row.case for row in compare_all([honest, faulty]) if row.problem] == [primitive]


def test_names_are_unique_and_shapes_are_several():
    cases = seeded_cases()
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert len({label.split(": ")[-1] for label in case.trials("float32")}) >= 2, case.name


def test_every_trial_has_inputs_of_its_dtype():
    for case in choose_cases(seeded_cases(), ["naclip", "pamr", "layer_norm", "outliers:*"]):
        for dtype in DTYPES:
            for arguments in case.trials(dtype).values():
                x = arguments[0] if isinstance(arguments[0], np.ndarray) else arguments[0].hidden[0]
                assert x.dtype == dtype


def test_inputs_are_seeded_and_the_same_in_both_dtypes():
    for case in seeded_cases():
        first, again = case.trials("float64"), case.trials("float64")
        assert [fingerprint(x) for x in first.values()] == [fingerprint(x) for x in again.values()]
    x, y = (normal(generator("x"), (50, 40), dtype) for dtype in DTYPES)
    np.testing.assert_array_equal(x, y.astype("float32"))
    assert abs(y.mean()) < 0.1 and abs(y.var() - 1) < 0.1 and np.abs(y).max() <= 3
    assert not np.array_equal(y, normal(generator("y"), (50, 40), "float64"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_number_is_so_small_that_jittor_s_process_takes_it_for_0(dtype):
    for case in seeded_cases():
        for arguments in case.trials(dtype).values():
            for x in floats_of(arguments):
                magnitude = np.abs(x[x != 0])
                assert magnitude.size == 0 or magnitude.min() >= np.finfo(dtype).tiny, case.name


def floats_of(value):
    """The arrays of numbers in a trial's arguments."""
    if isinstance(value, ClipFeatures):
        value = [*value.hidden, *value.weights.arrays.values(), value.attention]
    if isinstance(value, tuple | list):
        for part in value:
            yield from floats_of(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield value


def test_a_fingerprint_tells_inputs_apart():
    features = seeded_features(generator("f"), 2, (2, 3))
    other = seeded_features(generator("f"), 2, (3, 2))
    kinds = [(features,), (other,), (np.zeros(3),), (np.zeros(3, "float32"),), (np.zeros((3, 1)),), (0,), ("0",), ((0,),),
             ([0],), ({"prune": True},), ({"prune": False},), (None,)]  # fmt: skip
    assert len({fingerprint(x) for x in kinds}) == len(kinds)
    assert fingerprint((features, 1)) == fingerprint((features, 1))


# How it is compared


def row(tolerance: float = 1e-5) -> Row:
    return Row("naclip", About("method", "head"), "float32", ("numpy", "torch"), tolerance)


def test_differences_are_relative_to_the_largest_entry_of_the_first():
    a, b = np.array([1.0, -200.0]), np.array([1.001, -200.0])
    found = compare_arrays(a, b, row(), "result")
    assert found.absolute == pytest.approx(1e-3) and found.relative == pytest.approx(5e-6) and found.problem is None
    assert "5.0e-06 exceeds 1e-06" in compare_arrays(a, b, row(1e-6), "result").problem
    assert compare_arrays(np.zeros(2), np.full(2, 1e-9), row(), "result").problem
    assert compare_arrays(np.zeros(2), np.zeros(2), row(), "result").problem is None


@pytest.mark.parametrize(("a", "b", "says"), [
    ([1.0, np.nan], [1.0, 2.0], "NaN on numpy's side"),
    ([1.0, 2.0], [1.0, np.nan], "NaN on torch's side"),
    ([np.nan], [np.nan], "NaN on numpy's side"),
    ([1.0, np.inf], [1.0, -np.inf], "infinite on one side only"),
    ([1.0, 2.0], [1.0, np.inf], "infinite on one side only"),
    ([[1.0]], [1.0], "shapes (1, 1) and (1,)"),
    ([1.0], [1.0, 1.0], "shapes (1,) and (2,)"),
    ([1.0], np.ones(1, "float32"), "dtypes float64 and float32"),
    ([1.0], [1], "dtypes float64 and int64"),
])  # fmt: skip
def test_what_cannot_be_compared_is_a_problem(a, b, says):
    found = compare_arrays(np.asarray(a), np.asarray(b), row(), "result")
    assert says in found.problem and found.relative == np.inf


def test_equal_infinities_are_equal():
    x = np.array([1.0, -np.inf, np.inf])
    assert compare_arrays(x, x.copy(), row(), "result").problem is None


def test_choices_may_differ_where_their_margin_is_within_the_tolerance_only():
    a, b = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1], dtype="int32")
    near, clear, unknown = np.array([1, 1, 1, 1e-6]), np.array([1, 1, 1, 1e-4]), np.full(4, np.nan)
    found = compare_arrays(a, b, row(), "labels", near)
    assert found.problem is None and found.agreement == 0.75
    for margin in (clear, unknown, None):
        assert "1 of 4 differ" in compare_arrays(a, b, row(), "labels", margin).problem
    assert compare_arrays(a == 2, b == 2, row(), "outliers").problem


def test_leads():
    found = first_and_lead(np.array([[0.1, 0.5, 0.3], [0.7, 0.7, 0.0]]))
    assert found["labels"].tolist() == [1, 0]
    np.testing.assert_allclose(found["labels margin"], [0.2, 0])
    assert first_and_lead(np.ones((2, 1)))["labels margin"].tolist() == [np.inf, np.inf]


def test_a_row_keeps_the_trial_with_the_problem():
    runs = [Run(label, {}, {"pamr": About("primitive", "kernel")}) for label in ("a", "b")]
    for i, difference in enumerate((1e-7, 1e-4, 1e-6)):
        for run, x in zip(runs, (1.0, 1.0 + difference), strict=True):
            run.inputs["pamr", "float64", f"trial {i}"] = "same"
            run.outcomes["pamr", "float64", f"trial {i}"] = {"result": np.array([x])}
    (found,) = compare_all(runs)
    assert found.trial == "trial 1" and "1.0e-04 exceeds 1e-10" in found.problem
    assert found.relative == pytest.approx(1e-4) and found.agreement is None


def test_passed_means_no_problem():
    assert passed([row()]) and not passed([row(), compare_arrays(np.ones(1), np.zeros(1), row(), "result")])


# That they agree


def test_numpy_and_torch_agree(torch):
    runs = [run_cases(ops, seeded_cases(), DTYPES, complete=True) for ops in (load_backend("numpy"), torch)]
    rows = compare_all(runs)
    assert [found.problem for found in rows if found.problem] == []
    assert len(rows) == 2 * len(seeded_cases()) and not any(run.errors for run in runs)


@pytest.mark.parametrize("names", [FEW, pytest.param(None, marks=pytest.mark.slow)])
def test_all_three_agree(torch, names):
    backends = [load_backend("numpy"), torch, backend_or_skip("jittor")]
    cases = choose_cases(seeded_cases(), names)
    rows = compare_all([run_cases(ops, cases, DTYPES, complete=names is None) for ops in backends])
    assert [found.problem for found in rows if found.problem] == []
    assert {found.pair for found in rows} == {("numpy", "torch"), ("numpy", "jittor"), ("torch", "jittor")}

"""What a features file must be before it is read: kinds, shapes, finite values, sizes, and its digest."""

import copy
import json
import os
import zipfile

import numpy as np
import pytest
from towers import random_features

from core import ClipFeatures, InputError
from core.files.records import load_record, save_record


@pytest.fixture
def saved(rng, tmp_path):
    """A small features file, its arrays and its facts."""
    features = random_features(rng, 1, (3, 4))
    features.save(tmp_path / "f.npz")
    arrays = dict(np.load(tmp_path / "f.npz"))
    return tmp_path / "f.npz", arrays, json.loads(str(arrays.pop("facts")))


def rewritten(path, facts, arrays):
    """The file with other facts or arrays, and the digest that goes with them."""
    facts = {key: value for key, value in facts.items() if key not in ("format", "sha256")}
    save_record(path, "features 2", facts, arrays)


def refused(path):
    with pytest.raises(InputError) as error:
        ClipFeatures.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_rewritten_as_it_was_is_read(saved):
    path, arrays, facts = saved
    rewritten(path, facts, arrays)
    np.testing.assert_array_equal(ClipFeatures.load(path).hidden[0], arrays["hidden.0"])


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "c8", "i4", "u1", "?"])
@pytest.mark.parametrize("name", ["hidden.0", "weights.proj", "weights.ln_1.weight"])
def test_arrays_of_another_kind_are_told(saved, name, kind):
    path, arrays, facts = saved
    rewritten(path, facts, arrays | {name: arrays[name].astype(kind)})
    message = refused(path)
    assert f"its {name} is" in message


@pytest.mark.parametrize("kind", ["U3", "S3", "M8[s]", "m8[s]", [("a", "f4")]])
def test_arrays_that_are_no_numbers_are_told(saved, kind):
    path, arrays, facts = saved
    np.savez(path, facts=json.dumps(facts), **(arrays | {"hidden.0": np.zeros(arrays["hidden.0"].shape, kind)}))
    assert "not of numbers" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_told(saved, value):
    path, arrays, facts = saved
    arrays["hidden.1"][0, 3, 2] = value
    rewritten(path, facts, arrays)
    assert "its hidden.1 has values that are no finite numbers" in refused(path)


@pytest.mark.parametrize("change", [
    {"hidden.0": np.zeros((1, 13, 5), np.float32)}, {"hidden.1": np.zeros((2, 13, 16), np.float32)},
    {"hidden.0": np.zeros(3, np.float32)}, {"weights.proj": np.zeros(3, np.float32)}, {"more": np.zeros(3, np.float32)},
    {"weights.ln_1.bias": np.zeros((1, 1), np.float32)}, {"attention": np.zeros((1, 2, 3, 3), np.float32)},
    {"hidden.99": np.zeros((1, 13, 16), np.float32)}, {"weights.ln_post.weight": None},
    {"weights.more": np.zeros(2, np.float32)},
])  # fmt: skip
def test_other_shapes_and_names_are_told(saved, change):
    path, arrays, facts = saved
    rewritten(path, facts, {name: x for name, x in (arrays | change).items() if x is not None})
    assert "is not a features file" in refused(path)


@pytest.mark.parametrize("change", [
    {"grid": [3.0, 4.0]}, {"grid": [3, True]}, {"grid": [-3, -4]}, {"grid": [12]}, {"grid": "34"}, {"n_heads": 2.0},
    {"n_heads": 0}, {"n_heads": 7}, {"eps": "1"}, {"eps": -1.0}, {"eps": True}, {"activation": "relu"},
    {"activation": ["gelu"]}, {"source": [1]},
    {"source": {"height": 1.5}}, {"source": "x"}, {"source": {"a": {}}}, {"eps": 1e400}, {"n_heads": 10**400},
])  # fmt: skip
def test_other_facts_are_told(saved, change):
    path, arrays, facts = saved
    rewritten(path, facts | change, arrays)
    assert "is not a features file" in refused(path)


def test_any_change_shows_in_the_digest(saved):
    """Changes that leave a file of the right kind: one value, one fact, and no digest."""
    path, arrays, facts = saved
    other = {name: x.copy() for name, x in arrays.items()}
    other["hidden.0"][0, 0, 0] += 1e-3
    swapped = arrays | {"hidden.0": arrays["hidden.1"], "hidden.1": arrays["hidden.0"]}
    for changed_facts, changed, says in (
        (facts, other, "digest is another"), (facts, swapped, "digest is another"),
        (facts | {"eps": 1e-3}, arrays, "digest is another"),
        ({key: x for key, x in facts.items() if key != "sha256"}, arrays, "no digest"),
    ):  # fmt: skip
        np.savez(path, facts=json.dumps(changed_facts), **changed)
        assert says in refused(path)


def with_header(path, declared, **options):
    """An archive of one array whose header declares a shape, of zeros."""
    with zipfile.ZipFile(path, "w", **options) as archive, archive.open("hidden.0.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": declared})
        for _ in range(4):
            file.write(bytes(1 << 20))


def test_what_is_declared_is_held_against_the_file_before_it_is_read(saved, monkeypatch):
    path = saved[0]
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    with_header(path, (1 << 20,), compression=zipfile.ZIP_DEFLATED)
    assert os.path.getsize(path) < 1 << 14 and "compressed" in refused(path)
    for declared in ((10**6, 10**6), (1 << 19,), (-1, 4)):
        with_header(path, declared)
        assert "is not as long as its shape says" in refused(path)


def test_entries_that_share_their_bytes_are_told(tmp_path):
    """Small on the disk, and as large as one says: the directory names one region many times."""
    path = tmp_path / "f.npz"
    np.savez(path, a=np.zeros(1000, np.float32))
    for other in ("a.npy", "b.npy"):
        with zipfile.ZipFile(path, "a") as archive:
            again = copy.copy(archive.infolist()[0])
            again.filename = other
            archive.filelist += [again] * 9
            archive._didModify = True
        assert "is not a features file" in refused(path)


def test_dumps_of_other_kinds_keep_their_numbers(tmp_path):
    arrays = {"a": np.arange(3), "b": np.array(True), "c": np.array([np.nan]), "d": np.zeros((0, 2), np.float16)}
    save_record(tmp_path / "x.npz", "thing 1", {"n": 1}, arrays)
    facts, back = load_record(tmp_path / "x.npz", "thing 1", "thing", lambda facts, arrays: (facts, arrays))
    assert facts == {"format": "jittor-ovseg thing 1", "n": 1} and back.keys() == arrays.keys()
    for name, x in arrays.items():
        np.testing.assert_array_equal(back[name], x)
        assert back[name].dtype == x.dtype and back[name].shape == x.shape

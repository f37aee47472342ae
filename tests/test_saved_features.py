"""Features of one pass, saved and used again: the same results, the tower at rest, and mismatches told."""

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from test_segment_command import command, run  # noqa: F401 (a fixture)

from core import ClipFeatures, InputError, Segmenter
from torch_backend import ClipBackbone

VISION = {"image_size": 32, "layers": 12, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CLASSES = ["cat", "sofa, couch", "wall"]
WHOLE, WINDOWS = {"window": 0}, {"window": 32, "stride": 16, "batch_size": 4}


def make_backbone(seed, **vision):
    torch.manual_seed(seed)
    return ClipBackbone(open_clip.model.CLIP(16, vision_cfg=VISION | vision, text_cfg=TEXT), device="cpu")


@pytest.fixture(scope="module")
def backbone():
    return make_backbone(3)


@pytest.fixture
def image(rng):
    """50 x 63 pixels, which the tower sees as 48 x 64: whole, or in 2 x 3 windows of 32."""
    return rng.integers(0, 255, (50, 63, 3)).astype(np.uint8)


@pytest.fixture
def saved(backbone, image, tmp_path):
    """Saves the features under the settings given, and loads them."""

    def save(**settings):
        Segmenter(backend="numpy", model=backbone, **settings).picture_features(image).save(tmp_path / "f.npz")
        return ClipFeatures.load(tmp_path / "f.npz")

    return save


def no_tower(*arguments, **options):
    raise AssertionError("the tower ran")


@pytest.mark.parametrize("settings", [WHOLE, WINDOWS, {"window": 24, "stride": 16, "short_side": 40, "batch_size": 5}])
@pytest.mark.parametrize("method", ["naclip", "sfp", "scclip+fsa", "fsa", "proxyclip+repair"])
def test_results_are_those_of_the_tower(backbone, image, saved, monkeypatch, method, settings):
    external = "self" if method.split("+")[0] in ("fsa", "proxyclip") else None
    segmenter = Segmenter(method, "numpy", model=backbone, external=external, **settings)
    expected, features = segmenter(image, CLASSES), saved(**settings)
    monkeypatch.setattr(backbone, "features", no_tower)
    actual = segmenter(image, CLASSES, features)
    np.testing.assert_array_equal(actual.scores, expected.scores)
    np.testing.assert_array_equal(actual.labels, expected.labels)


def test_backends_read_them_too(mirror, backbone, image, saved, monkeypatch):
    features = saved(**WINDOWS)
    expected = Segmenter("sfp", "numpy", model=backbone, **WINDOWS)(image, CLASSES)
    segmenter = Segmenter("sfp", mirror.name, model=backbone, **WINDOWS)
    monkeypatch.setattr(backbone, "features", no_tower)
    np.testing.assert_allclose(segmenter(image, CLASSES, features).scores, expected.scores, atol=1e-4)


def test_they_need_not_be_saved(backbone, image):
    segmenter = Segmenter(backend="torch", model=backbone, **WINDOWS)
    expected = segmenter(image, CLASSES).scores
    np.testing.assert_allclose(segmenter(image, CLASSES, segmenter.picture_features(image)).scores, expected, atol=1e-6)


def test_the_batch_is_all_windows_in_order(backbone, image, saved):
    features = saved(**WINDOWS)
    assert len(features.hidden) == 11 and features.grid == (4, 4)
    assert features.hidden[0].shape == (6, 17, 64) and features.attention.shape == (6, 2, 17, 17)
    segmenter = Segmenter(backend="numpy", model=backbone, **WINDOWS)
    view = segmenter.view(image)
    ((last, _),) = segmenter.passes(image, replace(view, boxes=((16, 32, 48, 64),)))
    np.testing.assert_allclose(features.hidden[-1][5], last.hidden[-1][0], atol=1e-5)


def test_some_pictures_of_a_batch(saved):
    features = saved(**WINDOWS)
    some = features.pictures(2, 5)
    np.testing.assert_array_equal(some.hidden[3], features.hidden[3][2:5])
    np.testing.assert_array_equal(some.attention, features.attention[2:5])
    assert replace(features, attention=None).pictures(0, 1).attention is None


def test_the_source_is_kept(saved):
    source = saved(**WINDOWS).source
    assert len(source.pop("picture_sha256")) == 64
    assert source == {"height": 48, "width": 64, "window": 32, "stride": 16}


@pytest.mark.parametrize(("settings", "reason"), [
    ({"short_side": 64}, "resized to 48 x 64, and here it is 64 x 80"),
    ({"window": 16, "stride": 16}, "with window 32, and here it is 16"),
    ({"stride": 32}, "with stride 16, and here it is 32"),
    (WHOLE | {"stride": None}, "with window 32, and here it is 0"),
])  # fmt: skip
def test_other_settings_are_told(backbone, image, saved, settings, reason):
    with pytest.raises(InputError, match="features given do not fit") as error:
        Segmenter(backend="numpy", model=backbone, **(WINDOWS | settings))(image, CLASSES, saved(**WINDOWS))
    assert reason in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [WHOLE, WINDOWS])
def test_another_picture_is_told(backbone, image, saved, settings):
    other = image.copy()
    other[20, 30] ^= 1
    with pytest.raises(InputError, match="they are of another picture"):
        Segmenter(backend="numpy", model=backbone, **settings)(other, CLASSES, saved(**settings))


@pytest.mark.parametrize(("other", "reason"), [
    ({"seed": 4}, "another model's"),
    ({"seed": 3, "layers": 10}, "11 layers of width 64, and this model has 9 of width 64"),
    ({"seed": 3, "width": 96}, "11 layers of width 64, and this model has 11 of width 96"),
    ({"seed": 3, "head_width": 16}, "another model's"),
])  # fmt: skip
def test_another_model_is_told(image, saved, other, reason):
    with pytest.raises(InputError, match=reason):
        Segmenter(backend="numpy", model=make_backbone(**other), **WHOLE)(image, CLASSES, saved(**WHOLE))


@pytest.mark.parametrize(("change", "method", "reason"), [
    (lambda f: replace(f, grid=(8, 6)), "naclip", "their grid is 8 x 6, and the tower sees 6 x 8 patches"),
    (lambda f: replace(f, hidden=[np.repeat(x, 2, 0) for x in f.hidden]), "naclip", "of 2 windows, and here there are 1"),
    (lambda f: replace(f, hidden=[x[:, :9] for x in f.hidden[:-1]] + f.hidden[-1:]), "naclip", "of different shapes"),
    (lambda f: replace(f, attention=None), "sfp", "sfp reads the attention of the block before the last"),
    (lambda f: replace(f, attention=f.attention[..., 1:]), "sfp", "their attention is of another shape"),
])  # fmt: skip
def test_without_a_source_shapes_are_checked(backbone, image, saved, change, method, reason):
    features = replace(saved(**WHOLE), source=None)
    segmenter = Segmenter(method, "numpy", model=backbone, **WHOLE)
    np.testing.assert_array_equal(segmenter(image, CLASSES, features).labels, segmenter(image, CLASSES).labels)
    with pytest.raises(InputError, match=reason):
        segmenter(image, CLASSES, change(features))


def test_attention_is_asked_for_only_where_it_is_read(backbone, image, saved):
    features = replace(saved(**WHOLE), attention=None)
    for method, options in (("naclip", {}), ("sfp", {"detector": "L2"})):
        Segmenter(method, "numpy", model=backbone, **WHOLE, **options)(image, CLASSES, features)


@pytest.mark.parametrize("cut", [0, 10, 5000, -1])
def test_half_files_are_told(saved, tmp_path, cut):
    saved(**WHOLE)
    (tmp_path / "half.npz").write_bytes((tmp_path / "f.npz").read_bytes()[:cut])
    with pytest.raises(InputError, match="is not a features file") as error:
        ClipFeatures.load(tmp_path / "half.npz")
    assert "\n" not in str(error.value)


def test_damaged_files_are_told(saved, tmp_path, rng):
    """Wherever a byte is another, in the archive's and the arrays' headers: they are read, or refused in one line."""
    saved(**WHOLE)
    whole = (tmp_path / "f.npz").read_bytes()
    before = [whole[max(i - 100, 0) : i] for i in range(len(whole))]
    headers = [i for i, said in enumerate(before) if b"PK" in said or b"NUMPY" in said]
    refused = 0
    for place in rng.choice(headers, 400):
        damaged = bytearray(whole)
        damaged[place] = int(rng.integers(256))
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            ClipFeatures.load(tmp_path / "damaged.npz")
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("facts", ["[]", "3", "{}", "x", {"grid": 5}, {"grid": ["a", 3]}, {"source": [1]}, {"format": "2"}])
def test_spoilt_files_are_told(saved, tmp_path, facts):
    saved(**WHOLE)
    arrays = dict(np.load(tmp_path / "f.npz"))
    if isinstance(facts, dict):
        facts = json.dumps(json.loads(str(arrays["facts"])) | facts)
    np.savez(tmp_path / "spoilt.npz", **(arrays | {"facts": facts}))
    with pytest.raises(InputError, match="is not a features file"):
        ClipFeatures.load(tmp_path / "spoilt.npz")


def test_an_array_alone_and_a_missing_file_are_told(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="is not a features file"):
        ClipFeatures.load(tmp_path / "x.npz")
    with pytest.raises(InputError, match="no features file"):
        ClipFeatures.load(tmp_path / "y.npz")


@pytest.fixture
def at_work(command, backbone, image, tmp_path, monkeypatch):  # noqa: F811
    """A folder with a picture, and a command whose Segmenter takes the small model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Segmenter", partial(Segmenter, model=backbone))
    Image.fromarray(image).save("a.png")
    Image.fromarray(image[::-1].copy()).save("b.png")


def test_the_command_saves_and_uses_them(command, at_work, backbone, monkeypatch, capsys):  # noqa: F811
    argv = ["a.png", "--backend", "numpy", "--method", "sfp", "--scores", "--classes", "cat", "wall", "--out"]
    done = run(command, capsys, *argv, "plain")
    saving = run(command, capsys, *argv, "saving", "--save-features")
    assert done.code == saving.code == 0 and saving.err == ""
    assert "saving/a_features.npz" in saving.out and set(os.listdir("saving")) - set(os.listdir("plain")) == {"a_features.npz"}
    assert "a_features.npz" in json.loads(Path("saving/a.json").read_text())["files"]
    monkeypatch.setattr(backbone, "features", no_tower)
    assert run(command, capsys, *argv, "again", "--features", "saving/a_features.npz").code == 0
    assert json.loads(Path("again/a.json").read_text())["configuration"]["features"] == "saving/a_features.npz"
    for folder in ("saving", "again"):
        for name in ("a_labels.png", "a_overlay.png"):
            assert Path(folder, name).read_bytes() == Path("plain", name).read_bytes()
        scores = [np.load(Path(f, "a_scores.npz"))["scores"] for f in ("plain", folder)]
        np.testing.assert_array_equal(scores[0], scores[1])


def test_several_pictures_save_their_own(command, at_work, capsys):  # noqa: F811
    argv = ["a.png", "b.png", "--backend", "numpy", "--save-features", "--classes", "cat", "wall"]
    assert run(command, capsys, *argv).code == 0
    a, b = (ClipFeatures.load(f"out/{stem}_features.npz") for stem in "ab")
    assert a.source["picture_sha256"] != b.source["picture_sha256"]


@pytest.mark.parametrize(("argv", "reason"), [
    ("a.png b.png --features a.npz", "--features are of one picture"),
    ("a.png --features missing.npz", "no features file missing.npz"),
    ("a.png --features a.png", "a.png is not a features file"),
    ("a.png --features a.npz --save-features", "not allowed with"),
    ("b.png --features a.npz", "b.png: the features given do not fit: they are of another picture"),
])  # fmt: skip
def test_bad_calls_of_the_command(command, at_work, backbone, image, capsys, argv, reason):  # noqa: F811
    Segmenter(backend="numpy", model=backbone).picture_features(image).save("a.npz")
    done = run(command, capsys, *argv.split(), "--backend", "numpy", "--classes", "cat", "wall")
    assert done.code == 2 and done.out == ""
    assert reason in done.err and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not Path("out").exists() or os.listdir("out") == []

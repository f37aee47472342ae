"""What a CLIP must offer: a fake one that offers just that is enough, `ClipBackbone` offers it, nothing asks for more."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from fake_clip import COLOURS, FakeClip, stripes

from core import METHODS, ClipFeatures, InputError, Segmenter
from core.clip.model import CONTRACT, FACTS, clip_facts, is_clip, load_clip_model
from core.explain.look import look

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["red", "green", "blue", "white"]


@pytest.fixture
def clip():
    return FakeClip()


@pytest.fixture
def segmenter(clip):
    return Segmenter("maskclip", "numpy", model=clip, short_side=32, window=0)


@pytest.fixture
def counted(clip, monkeypatch):
    """The shapes of the pixels that the tower was shown."""
    shapes, features = [], clip.features

    def count(pixels, attention=False):
        shapes.append(pixels.shape)
        return features(pixels, attention)

    monkeypatch.setattr(clip, "features", count)
    return shapes


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_fake_offers_the_contract_and_nothing_else(clip):
    assert public(clip) == set(CONTRACT)
    assert is_clip(clip) and load_clip_model(clip) is clip
    assert not is_clip(object()) and not is_clip("embedded")


def test_a_clip_backbone_offers_the_contract():
    pytest.importorskip("open_clip")
    from torch_backend import ClipBackbone

    backbone = ClipBackbone(device="cpu")
    assert set(CONTRACT) <= public(backbone) and is_clip(backbone)
    assert backbone.n_layers == 12 and backbone.n_encoded >= 0 and backbone.dtype == "float32"
    pixels = np.zeros((2, 3, 16, 24), np.float32)
    assert len(backbone.features(pixels).hidden) == backbone.n_layers - 1
    whole = np.zeros((2, 3, backbone.image_size, backbone.image_size), np.float32)
    assert backbone.image_embeddings(whole).shape == (2, backbone.text_embeddings(["red"]).shape[1])
    with pytest.raises(InputError, match="128 x 128"):
        backbone.image_embeddings(pixels)
    assert json.loads(json.dumps(clip_facts(backbone))) == clip_facts(backbone)


@pytest.mark.parametrize(("window", "stride"), [(0, None), (16, 8), (16, 12)])
def test_each_stripe_gets_its_word(clip, window, stride):
    image, truth = stripes(WORDS)
    segmenter = Segmenter("maskclip", "numpy", model=clip, short_side=32, window=window, stride=stride, batch_size=3)
    result = segmenter(image, WORDS)
    np.testing.assert_array_equal(result.labels, truth)
    np.testing.assert_array_equal(segmenter.labels(image, segmenter.query(WORDS)), truth)
    np.testing.assert_allclose(result.scores.sum(axis=0), 1, atol=1e-6)
    assert result.classes == WORDS


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_on_it(clip, method):
    image, _ = stripes(WORDS)
    external = "self" if "external" in METHODS[method].needs else None
    result = Segmenter(method, "numpy", model=clip, external=external)(image, ["red; yellow", "green", "blue", "white"])
    assert result.labels.shape == image.shape[:2] and np.isfinite(result.scores).all()


def test_words_are_encoded_once_for_any_number_of_pictures(clip, segmenter):
    query = segmenter.query(WORDS)
    for width in (16, 20):
        image, truth = stripes(WORDS, width=width)
        np.testing.assert_array_equal(segmenter(image, query).labels, truth)
    assert clip.n_encoded == len(WORDS)
    with pytest.raises(InputError, match="does not know 'sofa'"):
        segmenter.query(["red", "sofa"])
    clip.weights_sha256 = "1" * 64
    with pytest.raises(InputError, match="another model's"):
        segmenter(image, query)


def test_features_spare_the_tower(clip, counted, segmenter, tmp_path):
    image, truth = stripes(WORDS)
    segmenter.picture_features(image).save(tmp_path / "a.npz")
    assert counted == [(1, 3, 32, 64)]
    features = ClipFeatures.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(segmenter(image, WORDS, features).labels, truth)
    other = Segmenter("sfp", "numpy", model=clip, short_side=32, window=0)  # which reads the attention kept with them
    np.testing.assert_array_equal(other(image, WORDS, features).scores, other(image, WORDS).scores)
    assert len(counted) == 2
    with pytest.raises(InputError, match="another picture"):
        segmenter(255 - image, WORDS, features)


def test_its_own_settings_and_facts_are_in_the_configuration(clip, segmenter):
    record = segmenter.configuration()
    assert json.loads(json.dumps(record)) == record
    assert record["model"] == "fake" and record["templates"] == ["{}", "a {}"]
    assert set(FACTS) - {"name"} <= record.keys() and record["weights_sha256"] == clip.weights_sha256
    assert (record["logit_scale"], record["short_side"], record["window"]) == (10.0, 32, 0)
    naclip = Segmenter("naclip", "numpy", model=clip).configuration()
    assert naclip["options"]["gaussian_std"] == 2.0
    assert (naclip["short_side"], naclip["window"], naclip["stride"]) == (24, 16, 8)  # 1.5 times its trained 16 pixels


def test_a_look_takes_one_pass_over_the_whole_picture(clip, counted):
    image, truth = stripes(["red", "green", "red"])
    sight = look(Segmenter("naclip+repair+fsa", "numpy", model=clip, short_side=32), image, ["red", "green"], at=(10, 20))
    assert counted == [(1, 3, 32, 48)]
    assert sight.grid == (8, 12) and sight.patch == (2, 5)
    for shares in (sight.attention, sight.corrected):
        assert shares.shape == (8, 12) and shares.sum() == pytest.approx(1)
    assert sight.attention[:, 4:8].sum() > 0.6  # a green patch looks at green, a third of the picture
    assert sight.outliers.shape == (8, 12) and [x.shape for x in sight.repair] == [(8, 12, 3)] * 2
    before, after = sight.feedback
    np.testing.assert_array_equal(after.labels, truth % 2)
    assert before.labels.shape == truth.shape


def test_options_of_a_model_that_is_complete_are_refused(clip):
    for option in ({"pretrained": "openai"}, {"quick_gelu": True}, {"precision": "fp16"}):
        with pytest.raises(InputError, match="leave pretrained, quick_gelu and precision out"):
            Segmenter("maskclip", "numpy", model=clip, **option)


def reached(source):
    """The attributes that code reads of whatever it calls `clip` or `backbone`."""
    def called(node):
        return getattr(node, "id", None) or getattr(node, "attr", None)

    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if called(node.value) in ("clip", "backbone")}


def test_what_is_reached_is_seen():
    code = "segmenter.clip.mean, backbone.features(x), model.visual, self.clip.model.visual"
    assert reached(code) == {"mean", "features", "model"}


@pytest.mark.parametrize("folder", ["core", "jt_backend", "scripts"])
def test_nothing_asks_a_clip_for_more_than_the_contract(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    asked = {str(path.relative_to(ROOT)): reached(path.read_text(encoding="utf-8")) - set(CONTRACT) for path in files}
    assert {path: names for path, names in asked.items() if names} == {}


def test_the_colours_differ():
    text = FakeClip().text_embeddings(list(COLOURS))
    assert np.allclose((text**2).sum(axis=1), 1) and (text @ text.T - np.eye(8)).max() < 0.5

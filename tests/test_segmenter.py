"""Pictures in, results out, on a small random CLIP: windows, sizes, synonyms, thresholds, settings."""

import json

import numpy as np
import open_clip
import pytest
import torch
from conftest import backend_or_skip

from core import InputError, Segmenter
from torch_backend import ClipBackbone

VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CLASSES = ["cat", "sofa, couch", "wall"]


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(1)
    return ClipBackbone(open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=TEXT), device="cpu")


@pytest.fixture
def image(rng):
    image = np.repeat(np.repeat(rng.integers(0, 255, (5, 7, 3)), 10, 0), 9, 1)
    return np.clip(image + rng.integers(-9, 9, image.shape), 0, 255).astype(np.uint8)


def segment(backbone, image, backend="numpy", classes=CLASSES, **settings):
    backend_or_skip(backend)
    return Segmenter(backend=backend, model=backbone, **settings)(image, classes)


def test_a_result_has_the_picture_s_size_and_sums_to_one(ops, backbone, image):
    out = segment(backbone, image, ops.name)
    assert out.labels.shape == image.shape[:2]
    assert out.classes == ["cat", "sofa", "wall"]
    assert out.scores.shape == (3, *image.shape[:2])
    assert out.scores.dtype == np.float32
    np.testing.assert_allclose(out.scores.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("settings", [
    {}, {"pamr": False}, {"window": 0}, {"window": 24, "stride": 8}, {"method": "sclip"}, {"method": "vanilla", "window": 0},
    {"short_side": 40, "logit_scale": 80.0}, {"gaussian_std": 1.0}, {"prob_thd": 0.4, "area_thd": 0.1},
])  # fmt: skip
def test_backends_agree(mirror, backbone, image, settings):
    reference, other = segment(backbone, image, **settings), segment(backbone, image, mirror.name, **settings)
    np.testing.assert_allclose(other.scores, reference.scores, atol=1e-4)
    best = np.sort(reference.scores, axis=0)
    sure = (best[-1] - best[-2] > 1e-3) & (np.abs(best[-1] - 0.4) > 1e-3)
    assert (other.labels == reference.labels)[sure].all()
    assert sure.mean() > 0.5


def test_the_number_of_windows_at_a_time_changes_nothing(backbone, image):
    one = segment(backbone, image, window=16, stride=8, batch_size=1)
    for batch_size in (3, 100):
        many = segment(backbone, image, window=16, stride=8, batch_size=batch_size)
        np.testing.assert_allclose(many.scores, one.scores, atol=1e-5)


def test_a_window_as_large_as_the_picture_is_the_whole_picture(backbone, image):
    whole = segment(backbone, image, window=0, short_side=48)
    np.testing.assert_allclose(segment(backbone, image, window=800, short_side=48).scores, whole.scores, atol=1e-5)


def test_one_class_s_synonyms_are_one_class(backbone, image):
    out = segment(backbone, image, classes=["cat,dog,bird"])
    assert (out.labels == 0).all()
    np.testing.assert_allclose(out.scores, 1)


def test_the_order_of_classes_does_not_matter(backbone, image):
    out, turned = segment(backbone, image), segment(backbone, image, classes=CLASSES[::-1])
    np.testing.assert_allclose(turned.scores[::-1], out.scores, atol=1e-6)


def test_transposing_a_picture_does_not_break_its_grid(backbone, image):
    """Not equal, since CLIP itself is not symmetric, but of the transposed shape on any grid."""
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    assert segment(backbone, turned, window=0).labels.shape == image.shape[1::-1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (7, 5)])
def test_odd_sizes(ops, backbone, shape):
    assert segment(backbone, np.full((*shape, 3), 90, np.uint8), ops.name).labels.shape == shape


def test_pictures_come_as_paths_images_and_arrays(backbone, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "x.png")
    expected = segment(backbone, image).labels
    for source in (tmp_path / "x.png", str(tmp_path / "x.png"), Image.fromarray(image)):
        np.testing.assert_array_equal(segment(backbone, source).labels, expected)


def test_the_configuration_is_complete_and_json(backbone):
    configuration = Segmenter(backend="numpy", model=backbone, gaussian_std=2).configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    assert configuration["options"] == {"arch": "reduced", "attn_strategy": "naclip", "gaussian_std": 2}
    assert configuration["window"] == 32
    assert configuration["stride"] == 16
    assert configuration["short_side"] == 48
    assert configuration["pamr"] is True
    assert configuration["pamr_iterations"] == 10
    assert configuration["pamr_dilations"] == [8, 16]
    assert len(configuration["weights_sha256"]) == 64
    assert "numpy" in configuration["versions"]


def test_pamr_is_on_for_naclip_and_what_is_added_to_it(backbone):
    assert Segmenter(backend="numpy", model=backbone).settings.pamr
    assert not Segmenter("sclip", "numpy", model=backbone).settings.pamr
    assert Segmenter("sclip", "numpy", model=backbone, pamr=True).settings.pamr
    assert not Segmenter(backend="numpy", model=backbone, pamr=False).settings.pamr


@pytest.mark.parametrize("settings", [
    {"method": "nacl"}, {"backend": "jax"}, {"window": 20}, {"window": -8}, {"stride": 0}, {"window": 16, "stride": 24},
    {"window": 0, "stride": 8}, {"stride": 64}, {"short_side": 0}, {"logit_scale": 0}, {"logit_scale": float("nan")},
    {"logit_scale": float("inf")}, {"prob_thd": 2}, {"area_thd": -1}, {"batch_size": 0}, {"sigma": 1}, {"gaussian_std": -1},
    {"method": "vanilla", "gaussian_std": 1}, {"device": "tpu"},
])  # fmt: skip
def test_settings_that_cannot_work_are_told_in_one_line(backbone, settings, image):
    with pytest.raises(InputError) as error:
        Segmenter(**({"backend": "numpy", "model": backbone} | settings))(image, CLASSES)
    assert "\n" not in str(error.value)


def test_a_record_of_the_notes_pipeline(backbone, image):
    """Whole picture, no PAMR: the labels are the argmax of the upsampled cosines, by hand."""
    from core import patch_embeddings
    from core.clip.view import model_size, to_pixels
    from core.primitives.resize import resize_bilinear

    classes = ["cat", "dog", "wall"]
    size = model_size(*image.shape[:2], 48, 8)
    features = backbone.features(to_pixels(image, size, backbone.mean, backbone.std))
    tokens = patch_embeddings(features, "naclip")[0]
    tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
    cosines = (tokens @ backbone.text_embeddings(classes).T).transpose(2, 0, 1)
    logits = 40 * resize_bilinear(resize_bilinear(cosines, size), image.shape[:2])
    expected = np.exp(logits) / np.exp(logits).sum(0)
    out = segment(backbone, image, classes=classes, window=0, pamr=False)
    np.testing.assert_allclose(out.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(out.labels, expected.argmax(0))

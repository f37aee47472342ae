"""`Segmentation`: only sound results are made, and what is drawn and saved says what they hold."""

import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

from core.errors import InputError
from core.files import writing
from core.results import overlay
from core.results.colours import class_colours, oklab
from core.results.segmentation import Segmentation

PARTS = ("overlay.png", "labels.png", "scores.npz")


def segmentation(height: int = 6, width: int = 8, classes: tuple[str, ...] = ("cat", "dog", "wall")) -> Segmentation:
    """Seeded labels, scores that mean them, and a picture."""
    rng = np.random.default_rng(height * 1000 + width)
    n_classes = len(classes)
    labels = rng.integers(0, n_classes, (height, width)).astype(np.int32)
    scores = rng.random((n_classes, height, width)) + n_classes * (labels == np.arange(n_classes)[:, None, None])
    scores = (scores / scores.sum(axis=0)).astype(np.float32)
    return Segmentation(labels, scores, list(classes), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def striped(shares: dict[str, int], height: int = 4) -> Segmentation:
    """One stripe of so many columns for each class."""
    labels = np.repeat(np.arange(len(shares)), list(shares.values()))[None].repeat(height, axis=0)
    scores = (labels == np.arange(len(shares))[:, None, None]).astype(np.float32)
    return Segmentation(labels, scores, list(shares), np.full((*labels.shape, 3), 128, np.uint8))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": np.zeros((6, 8), np.float32)}, "labels must be (H, W) integers"),
        ({"labels": np.zeros((6, 8, 1), np.int32)}, "labels must be (H, W) integers"),
        ({"labels": np.zeros((0, 8), np.int32)}, "labels must be (H, W) integers"),
        ({"labels": np.full((6, 8), 3, np.int32)}, "labels must be from 0 to 2"),
        ({"labels": np.full((6, 8), -1, np.int32)}, "labels must be from 0 to 2"),
        ({"labels": [[0]]}, "labels must be a NumPy array"),
        ({"scores": np.full((3, 8, 6), 1 / 3, np.float32)}, "scores must be (3, 6, 8) float32"),
        ({"scores": np.full((3, 6, 8), 1 / 3, np.float64)}, "scores must be (3, 6, 8) float32"),
        ({"scores": np.full((3, 6, 8), 0.3, np.float32)}, "scores must be probabilities"),
        ({"scores": np.full((3, 6, 8), np.nan, np.float32)}, "scores must be probabilities"),
        ({"scores": np.stack([np.full((6, 8), v, np.float32) for v in (-1, 1, 1)])}, "scores must be probabilities"),
        ({"classes": ["cat", "dog", "cat"]}, "twice"),
        ({"classes": ["cat", "dog"]}, "scores must be (2, 6, 8) float32"),
        ({"classes": ("cat", "dog", "wall")}, "classes must be a list"),
        ({"classes": []}, "classes must be a list"),
        ({"classes": ["cat", "", "wall"]}, "classes must be a list"),
        ({"image": np.zeros((6, 8), np.uint8)}, "image must be (6, 8, 3) uint8"),
        ({"image": np.zeros((8, 6, 3), np.uint8)}, "image must be (6, 8, 3) uint8"),
        ({"image": np.zeros((6, 8, 3), np.float32)}, "image must be (6, 8, 3) uint8"),
    ],
)
def test_only_sound_results_are_made(change, reason):
    sound = segmentation()
    with pytest.raises(InputError) as caught:
        dataclasses.replace(sound, **change)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_result_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        segmentation().labels = None


def test_labels_need_not_be_the_best_score():
    sound = segmentation()
    assert dataclasses.replace(sound, labels=np.zeros_like(sound.labels)).shares()["cat"] == 1.0


@pytest.mark.parametrize("dtype", [np.int32, np.intp, np.uint8, np.uint64])
def test_shares_in_class_order(dtype):
    striped_result = striped({"wall": 1, "cat": 3, "dog": 0})
    result = dataclasses.replace(striped_result, labels=striped_result.labels.astype(dtype))
    assert list(result.shares().items()) == [("wall", 0.25), ("cat", 0.75), ("dog", 0.0)]


def test_the_overlay_leaves_the_picture_alone():
    result = segmentation(64, 64)
    before = result.image.copy()
    result.overlay()
    np.testing.assert_array_equal(result.image, before)


def test_the_overlay_blends_grey_and_class_colour():
    result = striped({"cat": 500, "wall": 140}, height=480)
    drawn = np.array(result.overlay(alpha=0.25))
    cat, wall = class_colours(2).astype(float)
    np.testing.assert_allclose(drawn[100, 100], 0.75 * 128 + 0.25 * cat, atol=1)
    np.testing.assert_allclose(drawn[100, 600], 0.75 * 128 + 0.25 * wall, atol=1)
    assert (drawn[:480, 499] == 255).all()
    np.testing.assert_array_equal(np.array(result.overlay(alpha=0))[100, 100], [128] * 3)
    np.testing.assert_array_equal(np.array(result.overlay(alpha=1))[100, 100], cat)


def test_the_legend_shows_the_classes_present_largest_first(monkeypatch):
    shown = []
    monkeypatch.setattr("core.results.segmentation.draw_overlay", lambda image, labels, legend, alpha: shown.extend(legend))
    striped({"wall": 1, "cat": 6, "dog": 0, "sofa": 3}).overlay()
    assert shown == [(1, "cat", 0.6), (3, "sofa", 0.3), (0, "wall", 0.1)]


def test_the_legend_has_each_colour_beside_the_picture():
    result = striped({f"thing {index}": 16 for index in range(40)}, height=480)
    drawn = result.overlay()
    assert drawn.height == 480 and drawn.width > 640
    legend = {tuple(colour) for colour in np.array(drawn)[:, 640:].reshape(-1, 3)}
    assert {tuple(colour) for colour in class_colours(40)} <= legend


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(1, 1, 480), (64, 64, 8), (3, 7, 69), (480, 640, 1), (2, 3000, 1), (3000, 2, 1)]
)
def test_small_pictures_are_enlarged_by_a_whole_factor(height, width, factor):
    result = segmentation(height, width)
    drawn = np.array(result.overlay(alpha=0))
    assert drawn.shape[0] >= height * factor and drawn.shape[1] >= width * factor
    centre = drawn[factor // 2 : height * factor : factor, factor // 2 : width * factor : factor]
    edges = overlay.contours(result.labels.repeat(factor, 0).repeat(factor, 1), max(1, round(max(drawn.shape) / 800)))
    inside = ~edges[factor // 2 :: factor, factor // 2 :: factor]
    np.testing.assert_array_equal(centre[inside], result.image[inside])


def test_contours_lie_between_classes_only():
    labels = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    np.testing.assert_array_equal(overlay.contours(labels), [[0, 1, 0], [1, 1, 1], [0, 0, 0]])
    assert not overlay.contours(np.zeros((3, 3), int)).any()


def test_names_that_the_font_lacks_lose_accents_or_become_the_index():
    from PIL import ImageFont

    font = ImageFont.load_default(14)
    for name in ("猫", "кот", "a猫", "a\nb", "\U0001f600"):
        assert overlay._drawable_name(name, 7, font) == "class 7"
    assert overlay._drawable_name("wall-tile (old)", 7, font) == "wall-tile (old)"
    assert overlay._drawable_name("café crème", 7, font) == "cafe creme"
    assert overlay._drawable_name("x" * 100, 7, font) == "x" * 25 + "..."
    assert segmentation(20, 30, ("猫", "沙发", "a\nb")).overlay().width > 480


def test_a_small_share_never_shows_as_nothing():
    assert [overlay.percentage(share) for share in (1, 0.123, 0.0006, 0.0004)] == ["100.0%", "12.3%", "0.1%", "<0.1%"]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_0_to_1(alpha):
    with pytest.raises(InputError, match="alpha"):
        segmentation().overlay(alpha)


def test_colours_are_distinct_and_a_class_keeps_its_own():
    colours = class_colours(255)
    assert colours.dtype == np.uint8 and len({tuple(colour) for colour in colours}) == 255
    np.testing.assert_array_equal(class_colours(3), colours[:3])
    np.testing.assert_array_equal(class_colours(300)[255:], colours[:45])
    points = oklab(colours[:20])
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(20)
    assert distances.min() > 0.12  # sRGB red and orange-red (255, 80, 0) are 0.07 apart


def test_oklab_knows_white_and_black():
    np.testing.assert_allclose(oklab([[255, 255, 255], [0, 0, 0]]), [[1, 0, 0], [0, 0, 0]], atol=1e-4)


def test_the_label_image_is_a_palette_picture(tmp_path):
    result = segmentation(5, 9)
    result.label_image().save(tmp_path / "labels.png")
    read = Image.open(tmp_path / "labels.png")
    assert read.mode == "P" and read.size == (9, 5)
    np.testing.assert_array_equal(np.array(read), result.labels)
    np.testing.assert_array_equal(np.array(read.convert("RGB")), class_colours(3)[result.labels])


@pytest.mark.parametrize(("n_classes", "mode"), [(255, "P"), (256, "I;16"), (700, "I;16")])
def test_many_classes_need_16_bits(tmp_path, n_classes, mode):
    result = segmentation(30, 40, tuple(f"thing {index}" for index in range(n_classes)))
    picture = result.label_image()
    assert picture.mode == mode
    picture.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "labels.png")), result.labels)


def test_save_writes_all_and_says_so(tmp_path):
    result = segmentation(classes=("cat", "沙发", "wall"))
    paths = result.save(tmp_path / "new" / "folder", "x", scores=True, configuration={"method": "naclip"})
    assert [path.name for path in paths] == ["x_overlay.png", "x_labels.png", "x_scores.npz", "x.json"]
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == sorted(path.name for path in paths)
    record = json.loads(paths[-1].read_text(encoding="utf-8"))
    assert record["classes"] == ["cat", "沙发", "wall"] and record["shares"] == result.shares()
    assert record["configuration"] == {"method": "naclip"} and record["size"] == {"height": 6, "width": 8}
    assert record["files"] == ["x_overlay.png", "x_labels.png", "x_scores.npz"]
    archive = np.load(paths[2], allow_pickle=False)
    np.testing.assert_array_equal(archive["scores"], result.scores)
    assert archive["classes"].tolist() == result.classes
    np.testing.assert_array_equal(np.array(Image.open(paths[0])), np.array(result.overlay()))


def test_scores_are_saved_only_when_asked_for(tmp_path):
    assert [path.name for path in segmentation().save(tmp_path, "x")] == ["x_overlay.png", "x_labels.png", "x.json"]


@pytest.mark.parametrize("stem", ["", ".", "a/b", "/x"])
def test_a_stem_is_a_plain_name(tmp_path, stem):
    with pytest.raises(InputError, match="stem"):
        segmentation().save(tmp_path, stem)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("writer", ["np.savez", "json.dumps"])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, monkeypatch, failure, writer):
    def half_written(path: object, **arrays: object) -> None:
        if writer == "np.savez":
            path.write_bytes(b"half")
        raise failure

    first = segmentation(4, 4)
    first.save(tmp_path, "x", scores=True)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    monkeypatch.setattr(f"core.results.segmentation.{writer}", half_written)
    with pytest.raises(type(failure)):
        segmentation(5, 5).save(tmp_path, "x", scores=True)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_the_json_file_is_put_in_place_last(tmp_path, monkeypatch):
    order = []
    replace = os.replace
    monkeypatch.setattr(writing.os, "replace", lambda a, b: (order.append(b.name), replace(a, b)))
    segmentation().save(tmp_path, "x", scores=True)
    assert sorted(order) == sorted(["x.json", *(f"x_{part}" for part in PARTS)]) and order[-1] == "x.json"


def test_atomic_path_replaces_at_the_end_only(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with writing.atomic_path(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_path_keeps_the_old_file_on_failure(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(failure), writing.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_atomic_path_gives_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    with writing.atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_make_folder(tmp_path):
    assert writing.make_folder(tmp_path / "a" / "b").is_dir() and os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="it is a file, not a folder"):
        writing.make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write to the folder"):
        writing.make_folder(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="cannot write to the folder"):
        writing.make_folder("x" * 300)

"""What a method saw: the right patches, shares, outliers and labels, and drawings of them for every method."""

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from compare import assert_close
from PIL import Image
from test_segment_command import command, run  # noqa: F401 (a fixture)

from core import InputError, Segmenter
from core.explain import sheets
from core.explain.look import check_place, default_patch, look, patch_at, principal_colours
from core.explain.sheets import explain
from core.jobs.folder import Wanted, segment_one
from torch_backend import ClipBackbone

VISION = {"image_size": 32, "layers": 12, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CLASSES = ["cat", "sofa, couch", "wall"]
OUTLIERS, FEEDBACK = {"outliers", "repair"}, {"feedback"}
SEEN = {
    "vanilla": set(), "maskclip": set(), "sclip": set(), "clearclip": set(), "naclip": set(), "scclip": OUTLIERS,
    "sfp": OUTLIERS, "proxyclip": set(), "fsa": FEEDBACK, "maskclip+fsa": FEEDBACK, "sclip+fsa": FEEDBACK,
    "vanilla+repair": OUTLIERS, "naclip+repair+fsa": OUTLIERS | FEEDBACK, "scclip+neighbourhood+fsa": OUTLIERS | FEEDBACK,
    "proxyclip+repair": OUTLIERS,
}  # fmt: skip
GRID = (6, 8)  # patches of the picture at its short side of 48


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(2)
    return ClipBackbone(open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=TEXT), device="cpu")


@pytest.fixture
def image(rng):
    """50 x 63 pixels: neither square nor whole patches."""
    image = np.repeat(np.repeat(rng.integers(0, 255, (5, 7, 3)), 10, 0), 9, 1)
    return np.clip(image + rng.integers(-9, 9, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def segmenter(backbone):
    def make(method="naclip", backend="numpy", **settings):
        external = "self" if method.split("+")[0] in ("proxyclip", "fsa") else None
        return Segmenter(method, backend, **({"model": backbone, "external": external} | settings))

    return make


def whole_features(segmenter, image):
    ((features, _),) = segmenter.passes(image, segmenter.view(image).whole)
    return features


@pytest.mark.parametrize("method", SEEN)
def test_every_method_is_drawn(segmenter, image, method):
    drawings = explain(segmenter(method), image, CLASSES)
    assert set(drawings) == {"attention"} | SEEN[method]
    for drawing in drawings.values():
        assert drawing.mode == "RGB" and max(drawing.size) > 480


def test_backends_see_the_same(mirror, segmenter, image):
    for method in ("naclip+repair+fsa", "fsa"):
        expected, actual = (look(segmenter(method, name), image, CLASSES, (20, 30)) for name in ("numpy", mirror.name))
        assert actual.patch == expected.patch and actual.grid == expected.grid
        assert_close(actual.attention, expected.attention, "head")
        assert np.abs(actual.corrected - expected.corrected).max() < 0.02  # pruning can flip a boundary link
        if expected.outliers is not None:
            np.testing.assert_array_equal(actual.outliers, expected.outliers)
            np.testing.assert_allclose(actual.repair, expected.repair, atol=1e-3)


@pytest.mark.parametrize(("at", "patch"), [((0, 0), (0, 0)), ((49, 62), (5, 7)), ((10, 50), (1, 6)), ((40, 7), (4, 0))])
def test_the_patch_of_a_place_attends_most_to_itself_and_its_neighbours(segmenter, image, at, patch):
    sight = look(segmenter(attn_strategy="nonly", gaussian_std=1.0), image, CLASSES, at)
    assert sight.grid == GRID and sight.patch == patch
    assert np.unravel_index(sight.attention.argmax(), GRID) == patch
    assert sight.attention.sum() == pytest.approx(1, abs=1e-5)
    distance = np.hypot(*(np.arange(n).reshape(shape) - i for n, shape, i in zip(GRID, ((-1, 1), (1, -1)), patch, strict=True)))
    near = np.argsort(distance.ravel(), kind="stable")
    assert (np.diff(sight.attention.ravel()[near]) <= 1e-7).all()


def test_attention_by_hand(segmenter, backbone, image):
    """clearclip: the mean over heads of softmax(q q' s), without the class token's share."""
    sight = look(segmenter("clearclip"), image, CLASSES, (30, 40))
    w, x = backbone.weights, whole_features(segmenter(), image).hidden[-1][0]
    x = torch.nn.functional.layer_norm(x, (64,), w["ln_1.weight"], w["ln_1.bias"], w.eps)
    q = (x @ w["attn.in_proj_weight"][:64].T + w["attn.in_proj_bias"][:64]).numpy()
    i = 1 + sight.patch[0] * GRID[1] + sight.patch[1]
    total = 0
    for head in (q[:, :32], q[:, 32:]):
        weights = np.exp(head[i] @ head.T * 32**-0.5)
        total = total + weights[1:] / weights.sum()
    assert_close(sight.attention, (total / total.sum()).reshape(GRID).astype(np.float32), "head")


def test_what_is_seen_does_not_depend_on_windows_and_pamr(segmenter, image):
    one = look(segmenter("naclip+repair+fsa"), image, CLASSES)
    for settings in ({"window": 16, "stride": 8}, {"window": 0}, {"pamr": False}):
        other = look(segmenter("naclip+repair+fsa", **settings), image, CLASSES)
        assert other.patch == one.patch
        np.testing.assert_array_equal(other.attention, one.attention)
        np.testing.assert_array_equal(other.repair, one.repair)
        np.testing.assert_array_equal(other.feedback[1].labels, one.feedback[1].labels)


def test_the_longest_patches_are_the_outliers_of_l2(segmenter, image):
    sight = look(segmenter("sfp", detector="L2", n_outliers=4), image, CLASSES)
    lengths = np.linalg.norm(whole_features(segmenter(), image).hidden[-1][0, 1:].numpy(), axis=-1)
    assert set(np.flatnonzero(sight.outliers)) == set(np.argsort(lengths)[-4:])
    assert sight.outliers.shape == GRID


def test_only_outliers_change_their_colour(segmenter, image):
    for method in ("scclip", "vanilla+repair"):
        sight = look(segmenter(method), image, CLASSES)
        before, after = sight.repair
        assert sight.outliers.any() and before.shape == (*GRID, 3)
        np.testing.assert_allclose(before[~sight.outliers], after[~sight.outliers], atol=1e-12)
        assert (np.abs(before - after) > 1e-6).any(axis=-1)[sight.outliers].all()


@pytest.mark.parametrize(("settings", "passes"), [({"window": 0}, 1), ({"window": 32, "stride": 16}, 2)])
def test_the_drawings_share_the_tower_s_pass(segmenter, image, tmp_path, monkeypatch, settings, passes):
    """Through windows, the labels take a pass of the windows and the drawings one of the whole picture."""
    one, n_passes = segmenter("scclip+fsa", **settings), []
    features = one.clip.features
    monkeypatch.setattr(one.clip, "features", lambda *a, **k: n_passes.append(1) or features(*a, **k))
    expected = explain(one, image, CLASSES)
    labels = one(image, CLASSES).labels
    n_passes.clear()
    wanted = Wanted(tmp_path, explain=True)
    outcome = segment_one(one, one.query(CLASSES), "a.png", image, "a", wanted)
    assert len(n_passes) == passes
    np.testing.assert_array_equal(outcome.result.labels, labels)
    for name, drawing in expected.items():
        with Image.open(tmp_path / f"a_{name}.png") as drawn:
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(drawing))


@pytest.mark.parametrize("method", ["fsa", "sclip+fsa", "scclip+fsa", "naclip+fsa"])
def test_the_feedback_is_compared_with_the_same_method_without_it(segmenter, image, method):
    sight = look(segmenter(method), image, CLASSES)
    settings = {"window": 0, "pamr": False}
    off = segmenter(method, isolate=False, prune=False, ensemble=False, **settings)(image, CLASSES)
    on = segmenter(method, **settings)(image, CLASSES)
    for result, expected in zip(sight.feedback, (off, on), strict=True):
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.scores, expected.scores)
    assert (off.scores != on.scores).any()


def test_proxyclip_is_the_fsa_before_its_feedback(segmenter, image):
    sight = look(segmenter("fsa"), image, CLASSES)
    expected = segmenter("proxyclip", window=0)(image, CLASSES)
    np.testing.assert_allclose(sight.feedback[0].scores, expected.scores, atol=1e-6)


def test_feedback_that_is_switched_off_is_not_drawn(segmenter, image):
    off = {"isolate": False, "prune": False, "ensemble": False}
    assert set(explain(segmenter("naclip+fsa", **off), image, CLASSES)) == {"attention"}


def test_explaining_leaves_the_segmenter_as_it_was(segmenter, image):
    explainer = segmenter("naclip+fsa")
    settings = explainer.settings
    expected = explainer(image, CLASSES).scores
    explain(explainer, image, CLASSES)
    assert explainer.settings is settings
    np.testing.assert_array_equal(explainer(image, CLASSES).scores, expected)


def test_another_model_s_grid_is_told_from_clip_s(segmenter, image, rng):
    other = segmenter("proxyclip+repair+fsa")
    other.settings = replace(other.settings, external="other")
    fields = rng.standard_normal((1, 5, 3, 9)).astype("float32")
    other.external_model = SimpleNamespace(features=lambda images: fields)
    sight = look(other, image, CLASSES, (49, 62))
    assert sight.grid == (3, 9) and sight.patch == (2, 8)
    assert sight.attention.shape == sight.corrected.shape == (3, 9)
    assert sight.outliers.shape == GRID and sight.repair[0].shape == (*GRID, 3)
    assert set(sheets.draw_sheets(sight)) == {"attention", "outliers", "repair", "feedback"}


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (7, 5)])
def test_odd_pictures(segmenter, shape):
    drawings = explain(segmenter("naclip+repair+fsa"), np.full((*shape, 3), 90, np.uint8), CLASSES)
    assert set(drawings) == {"attention", "outliers", "repair", "feedback"}


def test_maskclip_says_that_it_has_no_attention(segmenter, image, monkeypatch):
    said = []
    monkeypatch.setattr(sheets, "sheet", lambda panels: said.extend(panel.caption for panel in panels))
    explain(segmenter("maskclip"), image, CLASSES)
    assert len(said) == 1 and "no attention: each patch keeps its own value" in said[0]


def test_captions_count_and_name(segmenter, image, monkeypatch):
    said = []
    monkeypatch.setattr(sheets, "sheet", lambda panels: said.extend(panel.caption for panel in panels))
    sheets.outlier_sheet(look(segmenter("sfp", detector="L2", n_outliers=1), image, CLASSES))
    sheets.attention_sheet(look(segmenter("fsa"), image, CLASSES, (26, 20)))
    assert said[0] == "sfp: 1 outlier among 48 patches, outlined."
    assert said[1].startswith("fsa: the attention of the marked patch, at pixel 29,19 (row 3, column 2 of 6 x 8 patches), ")
    assert said[2].startswith("The same patch's attention, corrected")


@pytest.mark.parametrize(("height", "width", "grid"), [(50, 63, GRID), (512, 384, (5, 11)), (9, 9, (9, 9)), (300, 2, (128, 1))])
def test_a_mark_lies_on_its_patch(rng, height, width, grid):
    patch = (grid[0] - 2, grid[1] // 2)
    mask = np.zeros(grid, dtype=bool)
    mask[patch] = True
    picture = sheets.enlarged(rng.integers(60, 200, (height, width, 3), dtype=np.uint8), grid)
    assert picture.width % width == picture.height % height == 0
    assert picture.height / grid[0] >= 8 and picture.width / grid[1] >= 8
    changed = np.argwhere((np.asarray(sheets.marked(picture, mask, grid)) != np.asarray(picture)).any(axis=-1))
    for axis, side in ((0, picture.height), (1, picture.width)):
        low, high = (patch[axis] * side / grid[axis], (patch[axis] + 1) * side / grid[axis])
        assert abs(changed[:, axis].min() - low) <= 0.5 and abs(changed[:, axis].max() + 1 - high) <= 0.5


def test_heat_lies_where_the_attention_is(segmenter, image):
    sight = look(segmenter(), image, CLASSES, (5, 60))
    shares = np.zeros(GRID)
    shares[sight.patch], shares[4, 2], shares[1, 1] = 0.5, 0.4, 0.1
    panel = sheets.heat_panel(sight, shares, "Seen.")
    assert panel.brightest == pytest.approx(0.4) and panel.caption == "Seen. To itself: 50.0%."
    lightness = np.asarray(panel.picture).astype(float).sum(axis=-1)
    means = np.array([[block.mean() for block in np.array_split(band, GRID[1], axis=1)]
                      for band in np.array_split(lightness, GRID[0], axis=0)])  # fmt: skip
    means[sight.patch] = 0
    assert np.unravel_index(means.argmax(), GRID) == (4, 2)


def test_principal_colours(rng):
    after = (rng.standard_normal((40, 16)) * np.r_[9, 6, 4, np.full(13, 0.01)]).reshape(5, 8, 16)
    before = after.copy()
    before[0, 7] *= 100
    colours = principal_colours(before, after)
    assert all(c.shape == (5, 8, 3) and c.min() >= 0 and c.max() <= 1 for c in colours)
    flat = [c.reshape(40, 3) for c in colours]
    np.testing.assert_array_equal(np.delete(flat[0], 7, 0), np.delete(flat[1], 7, 0))
    for axis in range(3):  # red, green and blue follow the three widest axes
        rank = np.corrcoef(flat[1][:, axis], after.reshape(40, 16)[:, axis])[0, 1]
        assert rank > 0.9
    moved = principal_colours(before + 5, after + 5)
    np.testing.assert_allclose(moved, colours, atol=1e-9)
    np.testing.assert_allclose(principal_colours(3 * before, 3 * after), colours, atol=1e-9)


@pytest.mark.parametrize("patches", [np.zeros((1, 1, 8)), np.ones((5, 6, 8)), np.full((2, 2, 2), 1e30)])
def test_features_that_are_all_alike_are_grey(patches):
    np.testing.assert_array_equal(principal_colours(patches, patches), np.full((2, *patches.shape[:2], 3), 0.5))


def test_the_default_patch_is_deep_in_the_largest_object():
    labels = np.zeros((60, 80), dtype=int)
    labels[10:50, 30:70] = 2
    labels[0:5, 0:80] = 1
    assert default_patch(labels, (6, 8)) in {(2, 4), (2, 5), (3, 4), (3, 5)}
    assert default_patch(labels * 0 + 2, (5, 7)) == (2, 3)
    ring = np.ones((90, 90), dtype=int)
    ring[20:70, 20:70] = 0
    ring[30:60, 30:60] = 1
    row, column = default_patch(ring, (9, 9))
    assert ring[row * 10 + 5, column * 10 + 5] == 0


def test_the_default_patch_turns_with_the_picture(rng):
    labels = np.kron(rng.integers(0, 3, (5, 8)), np.ones((12, 9), int))
    labels[12:48, 18:54] = 5
    assert default_patch(labels.T, (8, 5)) == default_patch(labels, (5, 8))[::-1]


@pytest.mark.parametrize("shape", [(50, 63), (3, 200), (6, 8)])
def test_every_pixel_belongs_to_the_patch_over_it(shape):
    image = np.zeros((*shape, 3), dtype=np.uint8)
    for y in range(shape[0]):
        for x in range(shape[1]):
            row, column = patch_at((y, x), image, GRID)
            assert row <= y * GRID[0] / shape[0] < row + 1 and column <= x * GRID[1] / shape[1] < column + 1


@pytest.mark.parametrize("at", [(-1, 0), (0, -1), (50, 0), (0, 63)])
def test_a_place_outside_is_told(segmenter, image, at):
    with pytest.raises(InputError, match=r"lies outside the picture, which has rows 0 to 49 and columns 0 to 62$"):
        explain(segmenter(), image, CLASSES, at)
    check_place((49, 62), image)


def test_the_command_writes_and_lists_the_drawings(command, backbone, image, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Segmenter", partial(Segmenter, model=backbone))
    Image.fromarray(image).save("a.png")
    argv = ["a.png", "--backend", "numpy", "--method", "scclip+fsa", "--explain", "--explain-at", "10,50"]
    argv += ["--classes", "cat", "wall", "--out"]
    done = run(command, capsys, *argv, "one")
    assert done.code == 0 and done.err == ""
    names = [f"a_{kind}.png" for kind in ("overlay", "labels", "attention", "outliers", "repair", "feedback")]
    assert sorted(os.listdir("one")) == sorted([*names, "a.json"])
    assert [Path(line.strip()).name for line in done.out.splitlines() if "one/" in line] == [*names, "a.json"]
    assert json.loads(Path("one/a.json").read_text())["files"] == names
    assert run(command, capsys, *argv, "two").code == 0
    assert all(Path("one", name).read_bytes() == Path("two", name).read_bytes() for name in names)


@pytest.mark.parametrize(("argv", "reason"), [
    ("--explain-at 1,2", "give --explain too"),
    ("--explain --explain-at 1", "ROW,COLUMN"),
    ("--explain --explain-at 1,x", "ROW,COLUMN"),
    ("--explain --explain-at=-1,2", "ROW,COLUMN"),
    ("--explain --explain-at 50,2", "a.png: the place 50,2 lies outside the picture"),
])  # fmt: skip
def test_bad_places_in_the_command(command, backbone, image, tmp_path, monkeypatch, capsys, argv, reason):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Segmenter", partial(Segmenter, model=backbone))
    Image.fromarray(image).save("a.png")
    done = run(command, capsys, "a.png", "--backend", "numpy", *argv.split(), "--classes", "cat", "wall")
    assert done.code == 2 and done.out == ""
    assert reason in done.err and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not Path("out").exists() or os.listdir("out") == []

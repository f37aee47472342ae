"""The procedural scenes: repeatable, true to their labels, at any size, and never training on what is held out."""

import subprocess
import sys

import numpy as np
import pytest

from core import InputError
from core.scenes import (
    BACKGROUNDS,
    BENCHMARK,
    COLOURS,
    DISPLAY,
    HELD_OUT,
    PAIRS,
    SEEN,
    SHAPES,
    TRAINING,
    benchmark_scenes,
    draw,
    sample_layout,
    scene_rng,
    single_object_scenes,
)


def layout_of(seed, n_objects=3, size=(128, 128)):
    return sample_layout(scene_rng(BENCHMARK, seed), SEEN, n_objects, (0.15, 0.26), size)


def test_a_seed_repeats_its_scenes_and_another_does_not():
    first, again, other = (list(benchmark_scenes(seed, 3)) for seed in (5, 5, 6))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.labels, b.labels)
        assert a.classes == b.classes
        assert not np.array_equal(a.image, c.image)


def test_scene_i_does_not_depend_on_how_many_are_drawn():
    *_, last = benchmark_scenes(5, 3)
    assert np.array_equal(list(benchmark_scenes(5, 8))[2].image, last.image)


def test_no_purpose_repeats_the_stream_of_another():
    draws = {tuple(scene_rng(purpose, 0, 0).integers(2**32, size=4)) for purpose in (TRAINING, BENCHMARK, DISPLAY)}
    assert len(draws) == 3


def test_held_out_pairs_hold_every_colour_and_shape_once():
    assert len(PAIRS) == 64
    assert sorted(pair.split()[0] for pair in HELD_OUT) == sorted(COLOURS)
    assert sorted(pair.split()[1] for pair in HELD_OUT) == sorted(SHAPES)
    assert not set(SEEN) & set(HELD_OUT)


@pytest.mark.parametrize(("pairs", "allowed"), [("seen", SEEN), ("held_out", HELD_OUT)])
def test_a_benchmark_shows_its_own_pairs_and_offers_others(pairs, allowed):
    for scene in benchmark_scenes(1, 20, pairs, (48, 48)):
        objects, (background, *distractors) = scene.classes[: scene.n_objects], scene.classes[scene.n_objects :]
        assert 1 <= scene.n_objects <= 4
        assert set(objects) <= set(allowed)
        assert background in BACKGROUNDS
        assert len(set(scene.classes)) == len(scene.classes) == scene.n_objects + 5
        assert sum(name in BACKGROUNDS for name in distractors) == 1
        assert set(np.unique(scene.labels)) == set(range(scene.n_objects + 1))
        assert all(name in scene.caption for name in (*objects, background))


def test_single_objects_go_through_all_pairs():
    scenes = list(single_object_scenes(0, 64, (32, 32)))
    assert tuple(scene.classes[0] for scene in scenes) == PAIRS
    assert {scene.n_objects for scene in scenes} == {1}


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (200, 75)])
def test_truth_lies_where_the_colours_are(size):
    for scene in benchmark_scenes(3, 6, size=size):
        assert scene.image.shape == (*size, 3)
        assert scene.labels.shape == size
        for index, pair in enumerate(scene.classes[: scene.n_objects]):
            inside = scene.image[scene.labels == index] / 255
            nominal = np.array(COLOURS[pair.split()[0]])
            assert np.abs(np.median(inside, axis=0) - nominal).max() < 0.35
            nearest = min(COLOURS, key=lambda colour: np.abs(np.median(inside, axis=0) - COLOURS[colour]).sum())
            assert nearest == pair.split()[0]


def test_objects_cover_what_their_labels_say_and_nothing_else():
    layout = layout_of(2)
    plain = type(layout)((), layout.background, layout.texture_scale, layout.texture_seed)
    image, labels = draw(layout, 96, 128)
    background, _ = draw(plain, 96, 128)
    changed = np.abs(image.astype(int) - background).max(axis=2) > 0
    is_object = labels < len(layout.items)
    assert changed[is_object].mean() > 0.99
    grown = is_object.copy()  # by a pixel: the anti-aliased edge
    for axis in (0, 1):
        grown |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    assert changed[~grown].mean() < 0.001


def test_a_layout_looks_the_same_at_any_size():
    layout = layout_of(4)
    small, large = draw(layout, 64, 96)[1], draw(layout, 256, 384)[1]
    assert (small == large[2::4, 2::4]).mean() > 0.98


def test_edges_are_antialiased():
    layout = layout_of(7, 1)
    plain = type(layout)((), layout.background, layout.texture_scale, layout.texture_seed)
    image, labels = draw(layout, 128, 128)
    background, _ = draw(plain, 128, 128)
    outside_but_touched = (labels == 1) & (np.abs(image.astype(int) - background).max(axis=2) > 2)
    assert outside_but_touched.sum() > 20


def test_another_word_for_the_pairs_is_refused():
    with pytest.raises(InputError, match="'seen' or 'held_out'"):
        next(benchmark_scenes(0, 1, "unseen"))


def test_scenes_need_numpy_alone():
    code = "import sys, core.scenes; sys.exit(bool({'torch', 'jittor', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_shape_without_a_colour_gets_one_that_has_no_name():
    rng = scene_rng(TRAINING, 3)
    for _ in range(40):
        (item,) = sample_layout(rng, SHAPES, 1, (0.3, 0.4)).items
        assert item.pair in SHAPES
        assert min(np.linalg.norm(np.subtract(item.tint, named)) for named in COLOURS.values()) > 0.35

"""The layouts of the eight data sets: what is read, and what is said of a wrong or half-extracted one."""

import shutil

import numpy as np
import pytest
import tiny_data
from PIL import Image

from core import InputError
from core.evaluation.data.datasets import DATASETS, find_samples
from core.evaluation.data.derive import CITYSCAPES_IDS, NO_COCO_CLASS, derive_labels
from core.evaluation.data.labels import check_first, class_indices, load, read_label
from core.evaluation.metrics import IGNORED


@pytest.mark.parametrize("kind", ["palette", "grey", "16 bit"])
@pytest.mark.parametrize("name", list(DATASETS))
def test_pictures_and_truth_of_every_layout(name, kind, tmp_path):
    home = tiny_data.make(name, tmp_path, n=3, kind=kind)
    dataset, rng = DATASETS[name], np.random.default_rng(0)
    expected = [tiny_data.values_on_disk(name, rng).astype(int) for _ in range(3)]
    samples = find_samples(dataset, tmp_path)
    order = sorted(range(3), key=lambda i: tiny_data.stem(name, i)) if dataset.listing is None else range(3)
    assert [s.name for s in samples] == [tiny_data.stem(name, i) for i in order]
    assert find_samples(dataset, home) == samples
    assert check_first(samples, dataset) == []
    for sample, index in zip(samples, order, strict=True):
        image, truth = load(sample, dataset)
        values = expected[index]
        if dataset.reduce_zero:
            values = np.where((values == 0) | (values == 255), IGNORED, values - 1)
        np.testing.assert_array_equal(truth, values)
        assert image.shape == (*tiny_data.SIZE, 3) and image.dtype == np.uint8


def test_the_folder_above_voc_devkit_serves_too(tmp_path):
    tiny_data.make("voc21", tmp_path)
    for root in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit" / "VOC2012"):
        assert len(find_samples(DATASETS["voc20"], root)) == 3


def test_listed_pictures_are_read_in_the_order_of_the_list(tmp_path):
    home = tiny_data.make("voc21", tmp_path)
    listing = home / DATASETS["voc21"].listing
    names = listing.read_text().split()[::-1]
    listing.write_text("\n".join(names[:2]))
    assert [sample.name for sample in find_samples(DATASETS["voc21"], tmp_path)] == names[:2]


def no_list(home):
    (home / "ImageSets/Segmentation/val.txt").unlink()


def empty_list(home):
    (home / "ImageSets/Segmentation/val.txt").write_text("\n")


def doubled_in_the_list(home):
    path = home / "ImageSets/Segmentation/val.txt"
    path.write_text(path.read_text() * 2)


def missing_picture(home):
    next((home / "JPEGImages").glob("2007_000034.jpg")).unlink()


def missing_label(home):
    next((home / "SegmentationClass").glob("2007_000034.png")).unlink()


def no_labels(home):
    shutil.rmtree(home / "SegmentationClass")


def no_pictures(home):
    shutil.rmtree(home / "JPEGImages")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_list, r"there is no list of its pictures at .*val\.txt"),
        (empty_list, r"the list .*val\.txt names no picture"),
        (doubled_in_the_list, r"val\.txt names 2007_000033 twice"),
        (missing_picture, r"1 of the 3 pictures of .*val\.txt are not in .*JPEGImages, such as 2007_000034\.jpg: extract"),
        (missing_label, r"1 of the 3 pictures lack labels \*\.png in .*SegmentationClass, such as .*2007_000034\.png: take"),
        (no_labels, r"none of the pictures has labels \*\.png in .*SegmentationClass"),
        (no_pictures, r"no folder of pictures; looked for .*JPEGImages, .*VOC2012/JPEGImages"),
    ],
)
def test_a_half_extracted_voc_is_one_line_that_says_what_and_where(damage, says, tmp_path):
    damage(tiny_data.make("voc21", tmp_path))
    with pytest.raises(InputError, match=says) as error:
        find_samples(DATASETS["voc21"], tmp_path)
    assert "\n" not in str(error.value)


def test_a_root_that_is_not_there_and_folders_without_pictures(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        find_samples(DATASETS["ade20k"], tmp_path / "nowhere")
    (tmp_path / "images/val2017").mkdir(parents=True)
    with pytest.raises(InputError, match=r"there are no pictures \*\.jpg in .*val2017"):
        find_samples(DATASETS["coco_stuff164k"], tmp_path)


@pytest.mark.parametrize("name", ["coco_object", "coco_stuff164k", "cityscapes"])
def test_labels_that_can_be_derived_are_said_to_be(name, tmp_path):
    home = tiny_data.make(name, tmp_path)
    shutil.rmtree(home / DATASETS[name].labels[0])
    with pytest.raises(InputError, match=r"none of the pictures has labels .*--derive-labels"):
        find_samples(DATASETS[name], tmp_path)


def first_label(name, tmp_path):
    tiny_data.make(name, tmp_path)
    samples = find_samples(DATASETS[name], tmp_path)
    return samples, samples[0].label


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("cityscapes", 33, "holds 33, and labels of cityscapes are 0..18 .*labelIds"),
        ("coco_stuff164k", 181, "holds 181, and labels of coco_stuff164k are 0..170"),
        ("coco_object", 90, "holds 90, and labels of coco_object are 0..80 .*--derive-labels"),
        ("voc21", 21, "holds 21, and labels of voc21 are 0..20"),
        ("voc20", 21, "holds 21, and labels of voc20 are 1..20"),
        ("context60", 60, "holds 60, and labels of context60 are 0..59 .*pascal_context"),
        ("ade20k", 151, "holds 151, and labels of ade20k are 1..150 .*ADEChallengeData2016"),
    ],
)
def test_values_of_another_convention_are_told_on_the_first_label(name, value, says, tmp_path):
    samples, label = first_label(name, tmp_path)
    tiny_data.write_label(label, np.full(tiny_data.SIZE, value, np.uint8))
    with pytest.raises(InputError, match=says):
        check_first(samples, DATASETS[name])


def test_colours_in_place_of_indices_are_told(tmp_path):
    samples, label = first_label("ade20k", tmp_path)
    Image.new("RGB", tiny_data.SIZE[::-1], "red").save(label)
    with pytest.raises(InputError, match=r"is a picture of mode RGB, not one of class indices .*not of the full ADE20K"):
        check_first(samples, DATASETS["ade20k"])


def test_a_label_of_another_size_is_told(tmp_path):
    samples, label = first_label("voc21", tmp_path)
    tiny_data.write_label(label, np.zeros((128, 96), np.uint8))
    with pytest.raises(InputError, match="is 96 x 128, and its picture is 128 x 96"):
        check_first(samples, DATASETS["voc21"])


def test_an_unreadable_first_picture_is_left_to_the_run(tmp_path):
    samples, label = first_label("voc21", tmp_path)
    label.write_bytes(label.read_bytes()[:60])
    samples[1].picture.write_bytes(b"")
    assert check_first(samples, DATASETS["voc21"]) == []
    samples[2].picture.write_text("no picture")
    with pytest.raises(InputError, match="none of the 3 pictures that were looked at can be used"):
        check_first(samples, DATASETS["voc21"])


@pytest.mark.parametrize(("name", "doubt"), [("ade20k", "reduced already"), ("coco_object", "--derive-labels")])
def test_255_where_the_data_set_has_none_is_a_note(name, doubt, tmp_path):
    samples, label = first_label(name, tmp_path)
    values = read_label(label).copy()
    values[:9] = 255
    tiny_data.write_label(label, values)
    (note,) = check_first(samples, DATASETS[name])
    assert "holds 255" in note and doubt in note
    assert (class_indices(values, DATASETS[name], label)[:9] == IGNORED).all()


def test_ids_and_counts_as_published():
    """Cityscapes' labels.py (Cordts et al., CVPR 2016), cocostuff's labels.txt, and the counts of each data set's own page."""
    cityscapes = {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19, "traffic sign": 20,
        "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
        "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    assert tuple(cityscapes.values()) == CITYSCAPES_IDS
    in_no_picture = {
        "street sign": 12, "hat": 26, "shoe": 29, "eye glasses": 30, "plate": 45, "mirror": 66, "window": 68, "desk": 69,
        "door": 71, "blender": 83, "hair brush": 91,
    }  # fmt: skip
    assert tuple(in_no_picture.values()) == NO_COCO_CLASS
    assert {name: (dataset.n_classes, dataset.n_pictures) for name, dataset in DATASETS.items()} == {
        "voc21": (21, 1449), "voc20": (20, 1449), "context60": (60, 5104), "context59": (59, 5104),
        "coco_object": (81, 5000), "coco_stuff164k": (171, 5000), "cityscapes": (19, 500), "ade20k": (150, 2000),
    }  # fmt: skip
    assert IGNORED == 255


def test_derived_labels_of_coco_by_its_category_ids(tmp_path):
    tiny_data.make("coco_object", tmp_path, n=1)
    folder = tmp_path / "annotations/val2017"
    shutil.rmtree(folder)
    # COCO's own ids, from 1: person, fire hydrant, stop sign, toothbrush, then stuff: banner and wood; nothing.
    own = np.array([1, 11, 13, 90, 92, 182, 256]).repeat(96 * 128 // 7 + 1)[: 96 * 128].reshape(tiny_data.SIZE) - 1
    tiny_data.write_label(folder / f"{tiny_data.stem('coco', 0)}.png", own.astype(np.uint8))
    expected = {
        "coco_object": {0: 1, 10: 11, 12: 12, 89: 80, 91: 0, 181: 0, 255: 0},
        "coco_stuff164k": {0: 0, 10: 10, 12: 11, 89: 79, 91: 80, 181: 170, 255: 255},
    }
    for name, table in expected.items():
        assert derive_labels(name, tmp_path) == (1, 0)
        assert derive_labels(name, tmp_path) == (0, 1)
        (sample,) = find_samples(DATASETS[name], tmp_path)
        np.testing.assert_array_equal(read_label(sample.label), np.vectorize(table.get)(own))
        assert check_first([sample], DATASETS[name]) == []


def test_coco_object_from_train_ids_equals_coco_object_from_the_maps(tmp_path):
    tiny_data.make("coco_object", tmp_path, n=1)
    folder, stem = tmp_path / "annotations/val2017", tiny_data.stem("coco", 0)
    shutil.rmtree(folder)
    ids = [i - 1 for i in range(1, 183) if i not in NO_COCO_CLASS]
    assert len(ids) == 171
    own = np.resize([*ids, 255], tiny_data.SIZE).astype(np.uint8)
    tiny_data.write_label(folder / f"{stem}.png", own)
    derive_labels("coco_object", tmp_path)
    direct = read_label(folder / f"{stem}_instanceTrainIds.png")
    assert sorted(np.unique(direct)) == list(range(81))
    derive_labels("coco_stuff164k", tmp_path)
    (folder / f"{stem}.png").unlink()
    (folder / f"{stem}_instanceTrainIds.png").unlink()
    derive_labels("coco_object", tmp_path)
    np.testing.assert_array_equal(read_label(folder / f"{stem}_instanceTrainIds.png"), direct)


def test_derived_labels_of_cityscapes(tmp_path):
    tiny_data.make("cityscapes", tmp_path, n=2)
    samples = find_samples(DATASETS["cityscapes"], tmp_path)
    truth = read_label(samples[0].label)
    ids = np.where(truth == 255, 4, np.array([*CITYSCAPES_IDS, *[0] * 237])[truth]).astype(np.uint8)
    tiny_data.write_label(samples[0].label.with_name(samples[0].label.name.replace("labelTrainIds", "labelIds")), ids)
    samples[0].label.unlink()
    assert derive_labels("cityscapes", tmp_path) == (1, 1)
    np.testing.assert_array_equal(read_label(samples[0].label), truth)


def test_what_cannot_be_derived_is_told(tmp_path):
    home = tiny_data.make("coco_object", tmp_path, n=1)
    folder, stem = home / "annotations/val2017", tiny_data.stem("coco", 0)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=rf"nothing to derive {stem}_instanceTrainIds.png from; looked for .*{stem}\.png or "):
        derive_labels("coco_object", tmp_path)
    tiny_data.write_label(folder / f"{stem}.png", np.full(tiny_data.SIZE, 11, np.uint8))
    with pytest.raises(InputError, match="holds 11, which it cannot"):
        derive_labels("coco_object", tmp_path)
    with pytest.raises(InputError, match="--derive-labels is for coco_stuff164k, coco_object, cityscapes"):
        derive_labels("voc21", tmp_path)

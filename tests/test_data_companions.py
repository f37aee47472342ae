"""Data sets as they lie on people's disks: among companions of every kind, with lists and endings as editors leave them."""

import os
import shutil

import numpy as np
import pytest
import tiny_data
from PIL import Image

from core import InputError
from core.evaluation.data.datasets import DATASETS, find_samples, passed_over
from core.evaluation.data.derive import derive_labels
from core.evaluation.data.labels import check_first
from core.evaluation.data.values import read_label

LISTING = "ImageSets/Segmentation/val.txt"


def strew(folder):
    """Puts beside the files of a folder what systems and tools leave there."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        (folder / f"._{path.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
        for hidden in (".ipynb_checkpoints", ".thumbnails", "@eaDir", "copy"):
            (folder / hidden).mkdir(exist_ok=True)
            shutil.copy(path, folder / hidden / path.name)
        shutil.copy(path, folder / ".ipynb_checkpoints" / f"{path.stem}-checkpoint{path.suffix}")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", ".directory", "index.html", "checksums.md5", "Icon\r"):
        (folder / name).write_bytes(b"\0\1")
    (folder / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "000000000777.jpg").mkdir()
    os.mkfifo(folder / "ADE_val_00000777.png")


@pytest.mark.parametrize("name", list(DATASETS))
def test_companions_are_neither_pictures_nor_labels(name, tmp_path):
    home = tiny_data.make(name, tmp_path, n=3)
    dataset = DATASETS[name]
    before = find_samples(dataset, tmp_path)
    for folder in {path.parent for sample in before for path in (sample.picture, sample.label)}:
        strew(folder)
    (home / dataset.pictures[0] / "up").unlink(missing_ok=True)
    (home / dataset.pictures[0] / "up").symlink_to("../..")
    assert find_samples(dataset, tmp_path) == before
    assert check_first(before, dataset) == [] == passed_over(dataset, tmp_path)


@pytest.mark.parametrize(("name", "source"), [("coco_object", ".png"), ("cityscapes", "_gtFine_labelIds.png")])
def test_labels_are_derived_among_companions(name, source, tmp_path):
    tiny_data.make(name, tmp_path, n=2)
    samples = find_samples(DATASETS[name], tmp_path)
    for sample in samples:
        stem = sample.label.name.removesuffix(DATASETS[name].labels[1])
        tiny_data.write_label(sample.label.with_name(f"{stem}{source}"), np.full(tiny_data.SIZE, 7, np.uint8))
        sample.label.unlink()
    for folder in {path.parent for sample in samples for path in (sample.picture, sample.label)}:
        strew(folder)
    assert derive_labels(name, tmp_path) == (2, 0)
    assert find_samples(DATASETS[name], tmp_path) == samples


def test_a_stranger_among_the_pictures_is_told_of(tmp_path):
    home = tiny_data.make("ade20k", tmp_path)
    folder = home / "images/validation"
    shutil.copy(folder / "ADE_val_00000033.jpg", folder / "ADE_val_00000033 (1).jpg")
    assert len(find_samples(DATASETS["ade20k"], tmp_path)) == 3
    (note,) = passed_over(DATASETS["ade20k"], tmp_path)
    assert note.startswith("1 file is passed over in ") and "such as ADE_val_00000033 (1).jpg" in note
    assert note.endswith("pictures of ade20k are called like ADE_val_00000001.jpg")
    for path in folder.glob("ADE_val_*[0-9].jpg"):
        path.unlink()
    says = r"no pictures \*\.jpg in .*, which are called like ADE_val_00000001\.jpg; what is there is called like .* \(1\)"
    with pytest.raises(InputError, match=says):
        find_samples(DATASETS["ade20k"], tmp_path)


FORMS = {
    "byte order mark": lambda names: "\ufeff" + "\n".join(names),
    "CRLF": lambda names: "".join(f"{name}\r\n" for name in names),
    "CR": lambda names: "\r".join(names),
    "byte order mark and CRLF": lambda names: "\ufeff" + "".join(f"{name}\r\n" for name in names),
    "blank lines": lambda names: "\n\n" + "\n\n \n".join(names) + "\n\n",
    "blanks around": lambda names: "".join(f"  {name}\t \n" for name in names),
    "flags": lambda names: "".join(f"{name} {flag:2d}\n" for name, flag in zip(names, (1, -1, 0), strict=True)),
    "flags behind a tab": lambda names: "".join(f"{name}\t1\r\n" for name in names),
    "flags behind a comma": lambda names: "".join(f"{name},1\n" for name in names),
    "suffixes": lambda names: "".join(f"{name}.jpg\n" for name in names),
    "suffixes in capitals": lambda names: "".join(f"{name}.JPG\n" for name in names),
    "suffixes of labels": lambda names: "".join(f"{name}.png\n" for name in names),
    "folders": lambda names: "".join(f"JPEGImages/{name}.jpg\n" for name in names),
    "folders of Windows": lambda names: "".join(f"VOC2012\\JPEGImages\\{name}.jpg\r\n" for name in names),
    "picture and label": lambda names: "".join(f"/JPEGImages/{n}.jpg /SegmentationClass/{n}.png\n" for n in names),
    "quotes": lambda names: "".join(f'"{name}"\n' for name in names),
    "comments": lambda names: "# the pictures of val\n" + "\n#\n".join(names),
    "suffixes and flags": lambda names: "".join(f"{name}.jpg   1\n" for name in names),
}


@pytest.mark.parametrize("stems", [None, ["my cat 1", "2007 000034", "été (2)"]], ids=["as usual", "with blanks"])
@pytest.mark.parametrize("form", list(FORMS))
def test_lists_in_every_form(form, stems, tmp_path):
    if stems and form == "picture and label":
        pytest.skip("a line of two paths with blanks cannot be told apart")
    home = tiny_data.make("voc21", tmp_path)
    names = (home / LISTING).read_text().split()
    for old, new in zip(names, stems or names, strict=True):
        for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            (home / folder / f"{old}.{ending}").rename(home / folder / f"{new}.{ending}")
    names = (stems or names)[::-1]
    (home / LISTING).write_bytes(FORMS[form](names).encode())
    samples = find_samples(DATASETS["voc21"], tmp_path)
    assert [sample.name for sample in samples] == names
    assert all(sample.picture.is_file() and sample.label.is_file() for sample in samples)


def test_names_on_one_line_are_read_as_before(tmp_path):
    home = tiny_data.make("voc21", tmp_path)
    names = (home / LISTING).read_text().split()
    (home / LISTING).write_text(" ".join(names))
    assert [sample.name for sample in find_samples(DATASETS["voc21"], tmp_path)] == names


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "png", "PNG", "Jpeg"])
@pytest.mark.parametrize("name", ["voc20", "coco_stuff164k", "ade20k", "cityscapes"])
def test_pictures_and_labels_by_other_endings(name, ending, tmp_path):
    tiny_data.make(name, tmp_path)
    dataset = DATASETS[name]
    before = find_samples(dataset, tmp_path)
    for sample in before:
        if sample.picture.suffix.lower() != f".{ending}".lower():
            Image.open(sample.picture).save(sample.picture.with_suffix(f".{ending}"))
            sample.picture.unlink()
        else:
            sample.picture.rename(sample.picture.with_suffix(f".{ending}"))
    before[0].label.rename(before[0].label.with_suffix(".PNG"))
    after = find_samples(dataset, tmp_path)
    assert [sample.name for sample in after] == [sample.name for sample in before]
    assert {sample.picture.suffix for sample in after} == {f".{ending}"} and after[0].label.suffix == ".PNG"
    assert check_first(after, dataset) == []


def test_of_two_endings_the_data_set_s_own_is_taken(tmp_path):
    home = tiny_data.make("voc21", tmp_path)
    before = find_samples(DATASETS["voc21"], tmp_path)
    for path in list((home / "JPEGImages").iterdir()):
        shutil.copy(path, path.with_suffix(".JPG"))
        Image.open(path).save(path.with_suffix(".png"))
    assert find_samples(DATASETS["voc21"], tmp_path) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\nb\nc\n", r"none of the 3 names in .*val\.txt is a picture in .*JPEGImages: line 1 is read as a, and there is no a "
                      r"that ends in \.jpg, \.jpeg, \.png; the pictures there are called like 2007_000033\.jpg$"),
        ("2007_000033\n\n2007_000099 -1\n", r"1 of the 2 pictures .*such as 2007_000099\.jpg: .* line 3 of the list"),
        ("2007_000033\n2007_000033.jpg\n", r"val\.txt names 2007_000033 twice, in the lines 1 and 2"),
        ("# nothing\n", "names no picture"),
        ("\ufeff\r\n", "names no picture"),
    ],
)  # fmt: skip
def test_a_list_that_does_not_fit_says_which_rule_failed(text, says, tmp_path):
    home = tiny_data.make("voc21", tmp_path)
    (home / LISTING).write_bytes(text.encode())
    with pytest.raises(InputError, match=says) as error:
        find_samples(DATASETS["voc21"], tmp_path)
    assert "\n" not in str(error.value)


def test_a_list_that_never_ends_is_not_waited_for(tmp_path):
    home = tiny_data.make("voc21", tmp_path)
    (home / LISTING).unlink()
    os.mkfifo(home / LISTING)
    with pytest.raises(InputError, match=r"^voc21: cannot read the list .*val\.txt: it is a pipe"):
        find_samples(DATASETS["voc21"], tmp_path)


@pytest.mark.parametrize("root", ["x" * 300, "a\0b", "loop", "file"])
def test_a_root_that_cannot_be_is_one_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="there is no folder"):
        find_samples(DATASETS["voc21"], root)


def test_an_odd_name_of_a_picture_stays_in_its_line(tmp_path):
    home = tiny_data.make("coco_object", tmp_path)
    (home / "images/val2017/a\nb\x1b[2J.jpg").touch()
    (note,) = passed_over(DATASETS["coco_object"], tmp_path)
    assert "\n" not in note and "\x1b" not in note


def relabel(name, samples, values, n_classes=48):
    """Labels that each show up to so many of the values."""
    for index, sample in enumerate(samples):
        rng = np.random.default_rng(index)
        blocks = rng.choice(rng.choice([*values], n_classes), (6, 8))
        on_disk = blocks.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
        tiny_data.write_label(sample.label, on_disk, tiny_data.usual(name))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("coco_stuff164k", range(81), ": they fit coco_object better (derive them"),
        ("coco_stuff164k", [*range(21), 255], "hold nothing but 0..20 and 255: they fit voc21 or voc20 better"),
        ("ade20k", range(60), ": they fit context60 or context59 or coco_object better"),
        ("coco_stuff164k", range(151), ": they fit ade20k better"),
        ("voc20", [*[255] * 80, *range(20)], "if their zeros were reduced already, every class is off by one"),
        ("voc21", [*[255] * 80, *range(20)], "if their zeros were reduced already, every class is off by one"),
        ("ade20k", [*[255] * 9, *range(150)], "more of 12 hold 255, which ade20k has not on disk (ignored; if its zeros were"),
    ],
)
def test_labels_that_fit_another_data_set_better_are_told(name, values, says, tmp_path):
    tiny_data.make(name, tmp_path, n=12)
    samples = find_samples(DATASETS[name], tmp_path)
    assert check_first(samples, DATASETS[name]) == []
    relabel(name, samples, values, 12)
    (note,) = check_first(samples, DATASETS[name])
    assert says in note


def test_a_few_labels_of_few_classes_say_nothing(tmp_path):
    tiny_data.make("coco_stuff164k", tmp_path, n=4)
    samples = find_samples(DATASETS["coco_stuff164k"], tmp_path)
    relabel("coco_stuff164k", samples, (0, 17, 80, 255))
    assert check_first(samples, DATASETS["coco_stuff164k"]) == []


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("cityscapes", range(34), "of the 12 that were looked at; they fit Cityscapes' labelIds"),
        ("coco_object", [*range(171), 255], "of the 12 that were looked at; they fit coco_stuff164k"),
    ],
)
def test_values_out_of_range_are_said_to_be_whose(name, values, says, tmp_path):
    tiny_data.make(name, tmp_path, n=12)
    samples = find_samples(DATASETS[name], tmp_path)
    relabel(name, samples, values)
    with pytest.raises(InputError) as error:
        check_first(samples, DATASETS[name])
    assert says in str(error.value)


def test_several_labels_are_looked_at_and_a_single_bad_one_is_the_run_s(tmp_path):
    tiny_data.make("voc21", tmp_path, n=12)
    samples = find_samples(DATASETS["voc21"], tmp_path)
    tiny_data.write_label(samples[7].label, np.full(tiny_data.SIZE, 77, np.uint8))
    (note,) = check_first(samples, DATASETS["voc21"])
    assert note.startswith(f"{samples[7].label} holds 77")
    tiny_data.write_label(samples[9].label, np.full(tiny_data.SIZE, 78, np.uint8))
    with pytest.raises(InputError, match="holds 77"):
        check_first(samples, DATASETS["voc21"])


def test_the_look_is_bounded_and_spread(tmp_path, monkeypatch):
    from core.evaluation.data import labels

    samples = [tiny_data.make("voc21", tmp_path, n=1) and find_samples(DATASETS["voc21"], tmp_path)[0]] * 500
    seen = []
    monkeypatch.setattr(labels, "read_label", lambda path: seen.append(path) or read_label(path))
    check_first(samples, DATASETS["voc21"])
    assert len(seen) == 24 + 1  # the first's picture is held against it
    assert [places[0] for places in (labels.spread(range(500)),)] == [0] and labels.spread(range(500))[-1] == 499
    assert labels.spread(range(3)) == [0, 1, 2]


def test_a_label_that_is_another_kind_of_file_runs_nothing(tmp_path):
    tiny_data.make("voc21", tmp_path)
    samples = find_samples(DATASETS["voc21"], tmp_path)
    samples[0].label.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(InputError, match=r"cannot read the label .*EPS"):
        read_label(samples[0].label)

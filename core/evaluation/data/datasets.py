"""The eight data sets as mmsegmentation's users have them on disk, and the reader that pairs pictures with labels.

DIR, what `--root` names, is the folder shown or one that holds it.

PASCAL VOC 2012, voc21 and voc20 (`VOCtrainval_11-May-2012.tar` of the PASCAL VOC site, extracted as it is):

    VOC2012/JPEGImages/*.jpg, VOC2012/SegmentationClass/*.png, VOC2012/ImageSets/Segmentation/val.txt

PASCAL Context, context60 and context59 (VOC 2010 with `trainval_merged.json` of the Detail project, made into label pictures
by mmsegmentation's `tools/dataset_converters/pascal_context.py`):

    VOC2010/JPEGImages/*.jpg, VOC2010/SegmentationClassContext/*.png, VOC2010/ImageSets/SegmentationContext/val.txt

COCO-Stuff 164k and COCO-Object, coco_stuff164k and coco_object (`val2017.zip` and `stuffthingmaps_trainval2017.zip`; the
labels that end in TrainIds are made by `--derive-labels`, see `core.evaluation.data.derive`, or by mmsegmentation's converter):

    images/val2017/*.jpg, annotations/val2017/*_labelTrainIds.png and *_instanceTrainIds.png

Cityscapes, cityscapes (`leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`; labelTrainIds by `--derive-labels`):

    leftImg8bit/val/CITY/*_leftImg8bit.png, gtFine/val/CITY/*_gtFine_labelTrainIds.png

ADE20K, ade20k (`ADEChallengeData2016.zip`, the 150 classes, not the full ADE20K):

    ADEChallengeData2016/images/validation/*.jpg, ADEChallengeData2016/annotations/validation/*.png

Pictures may end in .jpg, .jpeg or .png, in letters of either case. What belongs to a data set, `belonging` says, and how its
list may be written, `listing`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError
from core.evaluation.data.belonging import LABEL_ENDINGS, PICTURE_ENDINGS, Found, find_files
from core.evaluation.data.listing import Listed, read_list
from core.notes import one_line


@dataclass(frozen=True)
class DataSet:
    """Where a data set keeps its pictures and labels, and what the labels mean.

    homes: folders below DIR in which it may lie. pictures, labels: folder and ending; `listing`: the file that names the
    pictures, or None for all of them. stem: how the files are called before their ending, a regular expression; example: one.
    reduce_zero: on disk 0 is ignored and 1..C are the classes 0..C-1; else 0..C-1 are. ignores: whether labels on disk hold
    255, which is never counted. has_background: class 0 is all that has no name. n_pictures: how many the published figures are
    over. advice: how right labels are had.
    """

    name: str
    title: str
    homes: tuple[str, ...]
    pictures: tuple[str, str]
    labels: tuple[str, str]
    listing: str | None
    n_classes: int
    n_pictures: int
    advice: str
    stem: str = ".+"
    example: str = "2007_000033"
    reduce_zero: bool = False
    ignores: bool = False
    has_background: bool = False


class Sample(NamedTuple):
    """A picture of a data set and its label picture."""

    name: str
    picture: Path
    label: Path


def _voc(name: str, title: str, n_classes: int, **zero: bool) -> DataSet:
    return DataSet(name, title, ("", "VOC2012", "VOCdevkit/VOC2012"), ("JPEGImages", ".jpg"), ("SegmentationClass", ".png"),
                   "ImageSets/Segmentation/val.txt", n_classes, 1449,
                   "take SegmentationClass of VOCtrainval_11-May-2012.tar, palette PNGs", ignores=True, **zero)  # fmt: skip


def _context(name: str, title: str, n_classes: int, **zero: bool) -> DataSet:
    return DataSet(name, title, ("", "VOC2010", "VOCdevkit/VOC2010"), ("JPEGImages", ".jpg"),
                   ("SegmentationClassContext", ".png"), "ImageSets/SegmentationContext/val.txt", n_classes, 5104,
                   "make them with mmsegmentation's tools/dataset_converters/pascal_context.py", **zero)  # fmt: skip


def _coco(name: str, title: str, ending: str, n_classes: int, **zero: bool) -> DataSet:
    return DataSet(name, title, ("", "coco_stuff164k", "coco_object", "coco"), ("images/val2017", ".jpg"),
                   ("annotations/val2017", ending), None, n_classes, 5000,
                   "derive them from the stuff-thing maps with --derive-labels", "(?:COCO_[a-z]+[0-9]{4}_)?[0-9]{12}",
                   "000000000139", **zero)  # fmt: skip


DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        _voc("voc21", "PASCAL VOC 2012 with background", 21, has_background=True),
        _voc("voc20", "PASCAL VOC 2012 without background", 20, reduce_zero=True),
        _context("context60", "PASCAL Context with background", 60, has_background=True),
        _context("context59", "PASCAL Context without background", 59, reduce_zero=True),
        _coco("coco_object", "COCO-Object", "_instanceTrainIds.png", 81, has_background=True),
        _coco("coco_stuff164k", "COCO-Stuff 164k", "_labelTrainIds.png", 171, ignores=True),
        DataSet("cityscapes", "Cityscapes", ("", "cityscapes"), ("leftImg8bit/val", "_leftImg8bit.png"),
                ("gtFine/val", "_gtFine_labelTrainIds.png"), None, 19, 500,
                "derive them from the labelIds with --derive-labels", "(?P<city>[^/_]+)/(?P=city)_[0-9]{6}_[0-9]{6}",
                "lindau/lindau_000000_000019", ignores=True),
        DataSet("ade20k", "ADE20K", ("", "ADEChallengeData2016", "ade/ADEChallengeData2016"), ("images/validation", ".jpg"),
                ("annotations/validation", ".png"), None, 150, 2000,
                "take annotations/ of ADEChallengeData2016.zip, not of the full ADE20K", "ADE_[a-z]+_[0-9]{8}",
                "ADE_val_00000001", reduce_zero=True),
    )
}  # fmt: skip
"""The data sets by the names that `--dataset` takes."""


def find_samples(dataset: DataSet, root: str | os.PathLike, labelled: bool = True) -> list[Sample]:
    """All pictures of a data set below `root` with their labels, in the order of its list or of their names.

    labelled: also check that every label is there. Raises InputError that says what was looked for and where: no such
    folder, no list, no pictures, listed pictures that are missing, pictures without labels.
    """
    home = find_home(dataset, root)
    pictures, labels = _pictures(dataset, home), _labels(dataset, home)
    if not pictures.files:
        raise InputError(_no_pictures(dataset, home, pictures.strangers))
    names = sorted(pictures.files) if dataset.listing is None else _listed(dataset, home, pictures)
    folder, ending = dataset.labels
    samples = [Sample(n, pictures.files[n], labels.files.get(n, home / folder / f"{n}{ending}")) for n in names]
    if labelled:
        _check_labels(dataset, home, samples, labels)
    return samples


def find_home(dataset: DataSet, root: str | os.PathLike) -> Path:
    """The folder below `root` in which the data set lies. Raises InputError when it is in none of its places."""
    root = Path(root)
    if not os.path.isdir(root):
        raise InputError(one_line(f"{dataset.name}: there is no folder {root}; --root names the data set's folder"))
    homes = [root / home for home in dataset.homes]
    home = next((home for home in homes if os.path.isdir(home / dataset.pictures[0])), None)
    if home is None:
        places = ", ".join(str(home / dataset.pictures[0]) for home in homes)
        raise InputError(one_line(f"{dataset.name}: no folder of pictures; looked for {places}"))
    return home


def passed_over(dataset: DataSet, root: str | os.PathLike) -> list[str]:
    """A note about files that end as pictures do and are called as none of the data set's, where there are any."""
    home = find_home(dataset, root)
    strangers = _pictures(dataset, home).strangers
    if not strangers:
        return []
    count = f"{len(strangers)} file{'s are' if len(strangers) > 1 else ' is'}"
    rule = f"pictures of {dataset.name} are called like {dataset.example}{dataset.pictures[1]}"
    return [one_line(f"{count} passed over in {home / dataset.pictures[0]}, such as {strangers[0]}: {rule}")]


def missing_labels(samples: list[Sample]) -> list[Sample]:
    """The samples whose label is not there."""
    return [sample for sample in samples if not os.path.isfile(sample.label)]


def _pictures(dataset: DataSet, home: Path) -> Found:
    folder, ending = dataset.pictures
    return find_files(home / folder, dataset.stem, ending, PICTURE_ENDINGS)


def _labels(dataset: DataSet, home: Path) -> Found:
    folder, ending = dataset.labels
    return find_files(home / folder, dataset.stem, ending, LABEL_ENDINGS)


def _listed(dataset: DataSet, home: Path, pictures: Found) -> list[str]:
    """The names of the list, all of which are there."""
    path, folder = home / str(dataset.listing), home / dataset.pictures[0]
    try:
        listed = read_list(path, pictures.files)
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from None
    absent = [entry for entry in listed if not entry.there]
    if len(absent) == len(listed):
        raise InputError(_none_of_the_list(dataset, path, folder, listed, pictures))
    if absent:
        line, name, _ = absent[0]
        raise InputError(one_line(
            f"{dataset.name}: {len(absent)} of the {len(listed)} pictures of {path} are not in {folder}, such as "
            f"{name}{dataset.pictures[1]}: extract the archive again, or mend line {line} of the list"
        ))  # fmt: skip
    return [entry.name for entry in listed]


def _none_of_the_list(dataset: DataSet, path: Path, folder: Path, listed: list[Listed], pictures: Found) -> str:
    line, name, _ = listed[0]
    there = min(pictures.files.values()).name
    return one_line(
        f"{dataset.name}: none of the {len(listed)} names in {path} is a picture in {folder}: line {line} is read as {name}, "
        f"and there is no {name} that ends in {', '.join(f'.{one}' for one in PICTURE_ENDINGS)}; the pictures there are called "
        f"like {there}"
    )


def _no_pictures(dataset: DataSet, home: Path, strangers: list[str]) -> str:
    folder, ending = dataset.pictures
    rule = f", which are called like {dataset.example}{ending}" if dataset.listing is None else ""
    others = f"; what is there is called like {strangers[0]}" if strangers else ""
    return one_line(f"{dataset.name}: there are no pictures *{ending} in {home / folder}{rule}{others}")


def _check_labels(dataset: DataSet, home: Path, samples: list[Sample], labels: Found) -> None:
    folder, ending = dataset.labels
    missing = missing_labels(samples)
    if missing:
        none = len(missing) == len(samples)
        which = "none of the" if none else f"{len(missing)} of the {len(samples)}"
        others = sorted(path.name for path in labels.files.values()) + labels.strangers if none else []
        there = f"; what is there is called like {others[0]}" if others else ""
        raise InputError(one_line(
            f"{dataset.name}: {which} pictures {'has' if none else 'lack'} labels *{ending} in "
            f"{home / folder}, such as {missing[0].label}: {dataset.advice}{there}"
        ))  # fmt: skip

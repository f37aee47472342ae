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
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError


@dataclass(frozen=True)
class DataSet:
    """Where a data set keeps its pictures and labels, and what the labels mean.

    homes: folders below DIR in which it may lie. pictures, labels: folder and ending; `listing`: the file that names the
    pictures, or None for all of them. reduce_zero: on disk 0 is ignored and 1..C are the classes 0..C-1; else 0..C-1 are.
    ignores: whether labels on disk hold 255, which is never counted. has_background: class 0 is all that has no name.
    n_pictures: how many the published figures are over. advice: how right labels are had.
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
                   "derive them from the stuff-thing maps with --derive-labels", **zero)  # fmt: skip


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
                "derive them from the labelIds with --derive-labels", ignores=True),
        DataSet("ade20k", "ADE20K", ("", "ADEChallengeData2016", "ade/ADEChallengeData2016"), ("images/validation", ".jpg"),
                ("annotations/validation", ".png"), None, 150, 2000,
                "take annotations/ of ADEChallengeData2016.zip, not of the full ADE20K", reduce_zero=True),
    )
}  # fmt: skip
"""The data sets by the names that `--dataset` takes."""


def find_samples(dataset: DataSet, root: str | os.PathLike, labelled: bool = True) -> list[Sample]:
    """All pictures of a data set below `root` with their labels, in the order of its list or of their names.

    labelled: also check that every label is there. Raises InputError that says what was looked for and where: no such
    folder, no list, no pictures, listed pictures that are missing, pictures without labels.
    """
    home = find_home(dataset, root)
    (picture_folder, picture_ending), (label_folder, label_ending) = dataset.pictures, dataset.labels
    there = _files(home / picture_folder, picture_ending)
    names = sorted(there) if dataset.listing is None else _listed(dataset, home)
    if not names:
        raise InputError(f"{dataset.name}: there are no pictures *{picture_ending} in {home / picture_folder}")
    absent = [name for name in names if name not in there]
    if absent:
        raise InputError(
            f"{dataset.name}: {len(absent)} of the {len(names)} pictures of {home / str(dataset.listing)} are not in "
            f"{home / picture_folder}, such as {absent[0]}{picture_ending}: extract the archive again"
        )
    samples = [
        Sample(n, home / picture_folder / f"{n}{picture_ending}", home / label_folder / f"{n}{label_ending}") for n in names
    ]
    if labelled:
        _check_labels(dataset, home, samples)
    return samples


def find_home(dataset: DataSet, root: str | os.PathLike) -> Path:
    """The folder below `root` in which the data set lies. Raises InputError when it is in none of its places."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{dataset.name}: there is no folder {root}; --root names the data set's folder")
    homes = [root / home for home in dataset.homes]
    home = next((home for home in homes if (home / dataset.pictures[0]).is_dir()), None)
    if home is None:
        places = ", ".join(str(home / dataset.pictures[0]) for home in homes)
        raise InputError(f"{dataset.name}: no folder of pictures; looked for {places}")
    return home


def missing_labels(samples: list[Sample]) -> list[Sample]:
    """The samples whose label is not there; folders are listed once, as they hold thousands of files."""
    there = {folder: set(os.listdir(folder)) for folder in {s.label.parent for s in samples} if folder.is_dir()}
    return [s for s in samples if s.label.name not in there.get(s.label.parent, ())]


def _check_labels(dataset: DataSet, home: Path, samples: list[Sample]) -> None:
    folder, ending = dataset.labels
    missing = missing_labels(samples)
    if missing:
        which = "none of the" if len(missing) == len(samples) else f"{len(missing)} of the {len(samples)}"
        raise InputError(
            f"{dataset.name}: {which} pictures {'has' if len(missing) == len(samples) else 'lack'} labels *{ending} in "
            f"{home / folder}, such as {missing[0].label}: {dataset.advice}"
        )


def _listed(dataset: DataSet, home: Path) -> list[str]:
    path = home / str(dataset.listing)
    try:
        names = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise InputError(f"{dataset.name}: there is no list of its pictures at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{dataset.name}: cannot read the list {path}: {getattr(error, 'strerror', None) or error}") from None
    if not names:
        raise InputError(f"{dataset.name}: the list {path} names no picture")
    doubled = next((name for name, earlier in zip(sorted(names)[1:], sorted(names), strict=False) if name == earlier), None)
    if doubled:
        raise InputError(f"{dataset.name}: the list {path} names {doubled} twice")
    return names


def _files(folder: Path, ending: str) -> set[str]:
    """Names below the folder, with their subfolders and without their ending, of the files that have it."""
    return {
        Path(place, name).relative_to(folder).as_posix().removesuffix(ending)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith(ending)
    }

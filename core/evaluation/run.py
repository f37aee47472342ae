"""One method on one data set, picture by picture: loading ahead, labelling, counting, and going on where it stopped."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SURVIVED, InputError, reason_of
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.data.labels import load
from core.evaluation.journal import Journal
from core.evaluation.metrics import confusion_matrix, figures
from core.evaluation.predictions import Predictions, Wanted
from core.files.writing import make_folder
from core.notes import note, one_line
from core.progress import Progress
from core.segment.query import Query
from core.segment.segmenter import Segmenter

JOURNAL = "journal.jsonl"
AHEAD = 2  # pictures read ahead for each worker


@dataclass(frozen=True, eq=False)
class Run:
    """What is measured: a Segmenter and its words on the pictures of a data set.

    configuration: all that decides the figures, ready for JSON.
    """

    dataset: DataSet
    samples: Sequence[Sample]
    segmenter: Segmenter
    query: Query
    configuration: dict[str, Any]


def run_configuration(
    dataset: DataSet, samples: Sequence[Sample], segmenter: Segmenter, names: Sequence[str], **more: Any
) -> dict[str, Any]:
    """All that decides the figures, ready for JSON: the data, the classes, the Segmenter's settings, `more`.

    The pictures are told apart by their names, a fingerprint and a count; what is in their files is the journal's to watch.
    """
    listed = "\n".join(sample.name for sample in samples).encode("utf-8", "surrogateescape")
    return {
        "dataset": dataset.name,
        "pictures": {"count": len(samples), "names_sha256": hashlib.sha256(listed).hexdigest()},
        **more,
        "classes": list(names),
        **segmenter.configuration(),
    }


def evaluate(
    run: Run, folder: Path, workers: int = 2, restart: bool = False, wanted: Wanted | None = None
) -> tuple[np.ndarray, dict[str, str]]:
    """The confusion matrix (C, C) of a data set, and what was wrong with the pictures that could not be measured.

    The journal in `folder` keeps what was measured; pictures that an earlier run of the same configuration measured are
    not measured again, those that failed then are tried again. workers: threads that read pictures and labels ahead.
    wanted: what is written of each picture; one that was measured and lacks it is segmented again, and not counted twice.

    Memory does not grow with the number of pictures. Raises InputError for a journal that cannot serve, or whose pictures or
    labels have changed since, and where `core.evaluation.predictions` does.
    """
    dataset, failed = run.dataset, {}
    names = [sample.name for sample in run.samples]
    predictions = Predictions(wanted or Wanted(), dataset, run.samples, run.configuration, run.query.classes.names)
    predictions.check_free(restart)
    with Journal(make_folder(folder) / JOURNAL, run.configuration, dataset.n_classes, restart, names) as journal:
        if journal.n_damaged:
            note(damage(journal))
        _check_unchanged(run.samples, journal)
        if restart:
            predictions.remove()
        left = [sample for sample in run.samples if not predictions.complete(sample, journal.done.get(sample.name))]
        progress = Progress(len(run.samples), len(run.samples) - len(left))
        ahead = load_ahead(left, lambda sample: (*load(sample, dataset), files_digest(sample)), workers)
        with closing(progress), closing(ahead):
            for sample, loaded in ahead:
                try:
                    image, truth, files = loaded.result()
                    labels = run.segmenter.labels(image, run.query)
                    matrix = confusion_matrix(truth, labels, dataset.n_classes)
                except SURVIVED as error:
                    failed[sample.name] = reason_of(error)
                    progress.say(f"error: {one_line(f'{sample.name}: {failed[sample.name]}')}")
                else:
                    predictions.write(sample, image, labels, files)
                    if sample.name not in journal.done:
                        journal.add(sample.name, matrix, files)
                progress.step(f"mIoU {100 * figures(journal.matrix).miou:.2f}")
        return journal.matrix, failed


def damage(journal: Journal) -> str:
    """What is said of damaged lines."""
    n = journal.n_damaged
    lines, pictures = ("1 line", "its picture is") if n == 1 else (f"{n} lines", "their pictures are")
    return f"{lines} of {one_line(journal.path)} cannot be believed, damaged or another run's: {pictures} measured again"


def files_digest(sample: Sample) -> str:
    """A digest of the bytes of a picture and its label."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (sample.picture, sample.label):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _check_unchanged(samples: Sequence[Sample], journal: Journal) -> None:
    """Raises InputError where a file is not the one that was measured: the journal's figures are then another data set's."""
    for sample in samples:
        try:
            same = sample.name not in journal.done or journal.done[sample.name] == files_digest(sample)
        except OSError:
            same = False
        if not same:
            advice = "begin anew with --restart, or name another folder with --out"
            raise InputError(f"{journal.path} is of other files: {sample.name} has changed since it was measured; {advice}")


def load_ahead(
    samples: Sequence[Sample], read: Callable[[Sample], Any], workers: int
) -> Iterator[tuple[Sample, "Future[Any]"]]:
    """The samples in their order, each with what `read` gives of it, read by `workers` threads a few pictures ahead."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Sample, Future[Any]]] = deque()
    rest = iter(samples)
    try:
        while True:
            for sample in rest:
                waiting.append((sample, pool.submit(read, sample)))
                if len(waiting) > AHEAD * workers:
                    break
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

"""One method on one data set, picture by picture: loading ahead, labelling, counting, and going on where it stopped."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InputError, lacks_memory
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.data.labels import load
from core.evaluation.journal import Journal
from core.evaluation.metrics import confusion_matrix, figures
from core.files.writing import make_folder
from core.progress import Progress
from core.segment.prediction import class_probabilities, label_pixels
from core.segment.query import parse_classes

if TYPE_CHECKING:
    from core.segment.segmenter import Segmenter

JOURNAL = "journal.jsonl"
AHEAD = 2  # pictures read ahead for each worker


def run_configuration(
    dataset: DataSet, samples: Sequence[Sample], segmenter: "Segmenter", names: Sequence[str], **more: Any
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
        "dtype": tower_dtype(segmenter),
    }


def tower_dtype(segmenter: "Segmenter") -> str:
    """What the CLIP computes in, such as "float32"; the heads always compute in float32."""
    return str(next(segmenter.backbone.model.parameters()).dtype).removeprefix("torch.")


def evaluate(
    dataset: DataSet,
    samples: Sequence[Sample],
    segmenter: "Segmenter",
    configuration: dict[str, Any],
    folder: Path,
    workers: int = 2,
    restart: bool = False,
) -> tuple[np.ndarray, dict[str, str]]:
    """The confusion matrix (C, C) of a data set, and what was wrong with the pictures that could not be measured.

    The journal in `folder` keeps what was measured; pictures that an earlier run of the same `configuration` measured are
    not measured again, those that failed then are tried again. workers: threads that read pictures and labels ahead.

    Memory does not grow with the number of pictures. Raises InputError for a journal that cannot serve, or whose pictures or
    labels have changed since.
    """
    label = labeller(segmenter, configuration["classes"])
    failed: dict[str, str] = {}
    with Journal(make_folder(folder) / JOURNAL, configuration, dataset.n_classes, restart) as journal:
        left = [sample for sample in samples if sample.name not in journal.done]
        _check_unchanged(samples, journal)
        progress = Progress(len(samples), len(journal.done))
        ahead = load_ahead(left, lambda sample: (*load(sample, dataset), files_digest(sample)), workers)
        with closing(progress), closing(ahead):
            for sample, loaded in ahead:
                try:
                    image, truth, files = loaded.result()
                    matrix = confusion_matrix(truth, label(image), dataset.n_classes)
                except (InputError, MemoryError, RuntimeError) as error:
                    failed[sample.name] = _reason(error)
                    progress.say(f"error: {sample.name}: {failed[sample.name]}")
                else:
                    journal.add(sample.name, matrix, files)
                progress.step(f"mIoU {100 * figures(journal.matrix).miou:.2f}")
        return journal.matrix, failed


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


def labeller(segmenter: "Segmenter", names: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a picture (H, W, 3) uint8 to its labels (H, W), with the classes embedded once.

    The labels are those of `Segmenter.__call__`, without the probabilities that it also makes ready.
    """
    classes = parse_classes(names)
    text = segmenter.backbone.text_embeddings(list(classes.phrases))
    ops = segmenter.ops

    def label(image: np.ndarray) -> np.ndarray:
        with ops.no_grad():
            logits = segmenter.logits(image, text)
            probabilities = class_probabilities(ops, logits, classes.phrase_class, segmenter.logit_scale)
            return ops.to_numpy(label_pixels(ops, probabilities, segmenter.prob_thd, segmenter.area_thd))

    return label


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


def _reason(error: Exception) -> str:
    """What to say of a picture that failed; anything but bad input and a lack of memory is a bug, and raised again."""
    if isinstance(error, InputError):
        return str(error)
    if lacks_memory(error):
        return "not enough memory for it"
    raise error

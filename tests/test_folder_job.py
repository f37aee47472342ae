"""Pictures into a folder: one bad picture, whatever is wrong with it, costs no other."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import InputError
from core.jobs import folder
from core.jobs.folder import Outcome, Wanted, segment_pictures


@pytest.fixture
def run(monkeypatch):
    """Runs the loop over named pictures with stand-ins; gives what came of each.

    reading, segmenting: what a picture of some name raises. start: makes the Segmenter.
    """

    def run_it(names, reading=None, segmenting=None, start=lambda: ("segmenter", "query")):
        def read_picture(name):
            if name in (reading or {}):
                raise reading[name]
            return np.zeros((2, 2, 3), np.uint8)

        def segment_one(segmenter, query, name, image, stem, wanted):
            if name in (segmenting or {}):
                raise segmenting[name]
            return Outcome(name, SimpleNamespace())

        monkeypatch.setattr(folder, "read_picture", read_picture)
        monkeypatch.setattr(folder, "segment_one", segment_one)
        return [outcome.error for outcome in segment_pictures(names, names, start, Wanted(Path()))]

    return run_it


NO_MEMORY = [MemoryError(), MemoryError("Unable to allocate 2 TiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_memory_that_ends_is_that_picture_s_error(run, error):
    for stage in ("reading", "segmenting"):
        before, large, after = run(["a", "large", "b"], **{stage: {"large": error}})
        assert before is after is None
        assert large.startswith("large: not enough memory for it; make the picture")


def test_bad_pictures_are_told_as_they_say(run):
    assert run(["a", "b"], reading={"a": InputError("cannot read a: it is empty")}) == ["cannot read a: it is empty", None]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_model_that_finds_no_room_beside_a_picture_is_tried_with_the_next(run, error):
    tries = []

    def start():
        tries.append(1)
        if len(tries) == 1:
            raise error
        return "segmenter", "query"

    large, *others = run(["large", "b", "c"], start=start)
    assert "not enough memory" in large and others == [None, None] and len(tries) == 2


def test_what_spoils_every_picture_ends_the_run(run):
    def start():
        raise InputError("unknown model")

    with pytest.raises(InputError, match="unknown model"):
        run(["a", "b"], start=start)


@pytest.mark.parametrize("stage", ["reading", "segmenting"])
def test_bugs_are_not_hidden(run, stage):
    for error in (TypeError("a bug"), RuntimeError("a bug")):
        with pytest.raises(type(error), match="a bug"):
            run(["a"], **{stage: {"a": error}})

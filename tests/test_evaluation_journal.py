"""The journal: a run that is cut anywhere goes on to the very same sum; what cannot serve is refused in one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import InputError
from core.evaluation.journal import Journal, differences

CONFIGURATION = {"dataset": "voc21", "classes": ["a", "b", "ü"], "preset": {"short_side": 336, "window": (224, 112)}}


def matrices(rng, n=4):
    """Sparse confusion matrices of 3 classes by picture."""
    return {f"picture {i}": rng.integers(0, 10**6, (3, 3)) * (rng.random((3, 3)) < 0.4) for i in range(n)}


def write(path, pictures, configuration=CONFIGURATION):
    with Journal(path, configuration, 3) as journal:
        for name, matrix in pictures.items():
            journal.add(name, matrix)
        return journal.matrix


def test_cut_at_any_byte_it_goes_on_to_the_same_sum(rng, tmp_path):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    total = write(path, pictures)
    np.testing.assert_array_equal(total, sum(pictures.values()))
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with Journal(path, CONFIGURATION, 3) as journal:
            assert len(journal.done) == max(whole[:length].count(b"\n") - 1, 0)
            for name, matrix in pictures.items():
                if name not in journal.done:
                    journal.add(name, matrix)
            np.testing.assert_array_equal(journal.matrix, total)
        assert path.read_bytes() == whole


def test_every_picture_is_on_disk_when_it_is_added(rng, tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, CONFIGURATION, 3) as journal:
        for count, (name, matrix) in enumerate(matrices(rng).items(), start=1):
            journal.add(name, matrix)
            assert json.loads(path.read_text().splitlines()[count])["picture"] == name


def test_restart_forgets(rng, tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, matrices(rng), {"dataset": "another"})
    with Journal(path, CONFIGURATION, 3, restart=True) as journal:
        assert not journal.done and not journal.matrix.any()
    assert write(path, {}).sum() == 0


def test_another_configuration_is_refused_with_what_differs(rng, tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, matrices(rng))
    before = path.read_bytes()
    other = {**CONFIGURATION, "preset": {"short_side": 448, "window": (224, 112)}, "limit": 3}
    with pytest.raises(InputError) as error:
        write(path, {}, other)
    assert "preset.short_side was 336, now 448; limit was null, now 3; begin anew with --restart, or " in str(error.value)
    assert "\n" not in str(error.value) and path.read_bytes() == before


def test_differences_name_the_deepest_key():
    assert list(differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5})) == [
        "a.c was 2, now 4", "d was 3, now null", "e was null, now 5",
    ]  # fmt: skip
    assert list(differences({"long": ["x" * 100]}, {"long": []})) == [f'long was ["{"x" * 55}..., now []']


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[1, 2]",
        b'{"picture": "p", "truth": [0], "label": [0]}',
        b'{"picture": "p", "truth": [0], "label": [7], "pixels": [1]}',
        b'{"picture": "p", "truth": [0], "label": [-1], "pixels": [1]}',
        b'{"picture": "p", "truth": [0, 1], "label": [1], "pixels": [1]}',
        b'{"picture": "p", "truth": ["x"], "label": [1], "pixels": [1]}',
        b'{"picture": "picture 0", "truth": [0], "label": [1], "pixels": [1]}',
    ],
)
def test_a_line_that_is_damaged_is_told(line, rng, tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, matrices(rng))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(InputError, match=r"line 6 of the journal .* is damaged: begin anew with --restart"):
        write(path, {})


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"my": "notes"}\n')
    with pytest.raises(InputError, match="is not a journal of an evaluation"):
        write(path, {})
    assert path.read_text() == '{"my": "notes"}\n'


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the journal .*: Is a directory"):
        Journal(tmp_path, CONFIGURATION, 3)


def test_a_full_disk_is_told_and_what_was_kept_serves(rng, tmp_path, monkeypatch):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    with open("/dev/full", "r+b") as full, Journal(path, CONFIGURATION, 3) as journal:
        journal.add("picture 0", pictures["picture 0"])
        monkeypatch.setattr(journal, "_file", full)
        with pytest.raises(InputError, match=r"cannot write the journal .*: No space left on device"):
            journal.add("picture 1", pictures["picture 1"])
    monkeypatch.undo()
    with Journal(path, CONFIGURATION, 3) as journal:
        assert list(journal.done) == ["picture 0"]


def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "journal.jsonl"
    other = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from core.evaluation.journal import Journal; Journal(Path(sys.argv[2]), {}, 3)"
    )
    command = [sys.executable, "-c", other, str(Path(__file__).resolve().parents[1]), str(path)]
    with Journal(path, {}, 3):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another run is writing" in refused.stderr
    assert subprocess.run(command, check=False).returncode == 0

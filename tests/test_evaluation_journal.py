"""The journal: a run that is cut anywhere goes on to the very same sum; what cannot serve is refused in one line."""

import json
import os
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


def reopened(path, pictures=None):
    """What a later run takes from a journal, whose pictures it then measures as far as they are missing."""
    with Journal(path, CONFIGURATION, 3, pictures=pictures) as journal:
        return journal


def test_any_damage_to_any_line_is_told_and_measured_again(rng, tmp_path):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    total = write(path, pictures)
    whole = path.read_bytes()
    for place in rng.choice(len(whole) - 1, 300, replace=False):  # the very last byte is a line's end, and a cut line no damage
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            journal = reopened(path)
        except InputError as error:  # of the first line alone: another configuration than this, or none
            assert place < whole.index(b"\n") and path.read_bytes() == damaged and "\n" not in str(error)
            continue
        assert (journal.n_damaged and len(journal.done) < 4) or place <= whole.index(b"\n")
        np.testing.assert_array_equal(journal.matrix, sum((pictures[name] for name in journal.done), np.zeros((3, 3), int)))
        np.testing.assert_array_equal(write(path, {name: m for name, m in pictures.items() if name not in journal.done}), total)
        assert reopened(path).n_damaged == 0


@pytest.mark.parametrize("change", ['"pixels": [7]', '"pixels": [5.0]', '"pixels": [true]', f'"pixels": [{2**62}]'])
def test_a_count_changed_by_hand_is_not_believed(change, tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, {"a": np.diag([0, 5, 0]), "b": np.diag([1, 2, 3])})
    path.write_text(path.read_text().replace('"pixels": [5]', change))
    journal = reopened(path)
    assert (list(journal.done), journal.n_damaged, journal.matrix.sum()) == (["b"], 1, 6)


LINES = {
    "no JSON": b"no JSON",
    "Infinity": b'{"picture": "p", "files": "", "truth": [0], "label": [0], "pixels": [Infinity]}',
    "deep": b"[" * 100_000,
    "a list": b"[1, 2]",
    "no checksum": b'{"picture": "p", "files": "", "truth": [0], "label": [0], "pixels": [1]}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_of_another_kind_is_not_believed(line, rng, tmp_path):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    write(path, pictures)
    whole = path.read_bytes()
    path.write_bytes(whole + line + b"\n")
    journal = reopened(path)
    assert journal.n_damaged == 1 and list(journal.done) == list(pictures) and path.read_bytes() == whole


@pytest.mark.parametrize(
    "counts",
    [
        {"truth": [0], "label": [0]},
        {"truth": [0], "label": [7], "pixels": [1]},
        {"truth": [0], "label": [-1], "pixels": [1]},
        {"truth": [0, 1], "label": [1], "pixels": [1]},
        {"truth": ["x"], "label": [1], "pixels": [1]},
        {"truth": [0], "label": [1], "pixels": [1.5]},
        {"truth": [0], "label": [1], "pixels": [True]},
        {"truth": [0], "label": [1], "pixels": [2**62]},
        {"truth": [0], "label": [1], "pixels": [-1]},
        {"truth": [0, 0], "label": [1, 1], "pixels": [1, 1]},
        {"truth": 0, "label": 1, "pixels": 1},
        {"picture": ["p"], "truth": [0], "label": [1], "pixels": [1]},
        {"picture": "picture 0", "truth": [0], "label": [1], "pixels": [1]},
        {"picture": "not in the list", "truth": [0], "label": [1], "pixels": [1]},
    ],
)
def test_a_record_that_cannot_be_is_not_believed_though_its_checksum_fits(counts, rng, tmp_path):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    write(path, pictures)
    with Journal(path, CONFIGURATION, 3) as journal:
        journal._write(journal._line(json.dumps({"picture": "p", "files": "", **counts}).encode()))
    journal = reopened(path, [*pictures, "p"])
    assert journal.n_damaged == 1 and list(journal.done) == list(pictures)
    np.testing.assert_array_equal(journal.matrix, sum(pictures.values()))


def test_a_line_of_another_run_s_journal_is_not_believed(rng, tmp_path):
    write(tmp_path / "other.jsonl", {"other": np.eye(3, dtype=int)}, {"dataset": "another"})
    line = (tmp_path / "other.jsonl").read_bytes().splitlines(keepends=True)[1]
    write(tmp_path / "journal.jsonl", matrices(rng))
    with open(tmp_path / "journal.jsonl", "ab") as file:
        file.write(line)
    journal = reopened(tmp_path / "journal.jsonl")
    assert journal.n_damaged == 1 and "other" not in journal.done


def test_a_first_line_that_says_nothing_any_more_is_told_by_the_others(rng, tmp_path):
    path, pictures = tmp_path / "journal.jsonl", matrices(rng)
    write(path, pictures)
    whole = path.read_bytes()
    path.write_bytes(b"?" + whole[1:])
    journal = reopened(path)
    assert journal.n_damaged == 1 and list(journal.done) == list(pictures) and path.read_bytes() == whole


@pytest.mark.parametrize("content", [b'{"my": "notes"}\n', b'{"my": "notes"}', b"notes", b"[1]\n[2]\n", b"{\n", b"\0" * 100])
@pytest.mark.parametrize("restart", [False, True])
def test_a_foreign_file_is_left_alone_whether_or_not_it_ends_with_a_line_s_end(content, restart, tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a journal of an evaluation"):
        Journal(path, CONFIGURATION, 3, restart)
    assert path.read_bytes() == content


@pytest.mark.parametrize("value", [b"Infinity", b"NaN", b"[" * 100_000, b"1" * 5000, b"{" * 500 + b"}" * 500])
def test_a_first_line_that_no_run_wrote_is_one_line(value, tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"configuration": {"limit": ' + value + b"}}\n")
    with pytest.raises(InputError, match="is not a journal"):
        write(path, {})


def test_a_journal_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="it is no regular file"):
        write(tmp_path / "pipe", {})


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

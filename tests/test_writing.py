"""Files and sets of files: whole or not at all, also when killed, by several processes at once, and where they cannot stand."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import InputError, Segmentation
from core.files import writing
from core.files.records import save_record
from core.files.store import Store

ROOT = Path(__file__).resolve().parents[1]
TEMPORARY = ".tmp-0123456789abcdef.png"


def result(value: int, side: int = 6) -> Segmentation:
    """A grey picture whose label and scores are all of one class."""
    labels = np.full((side, side), value % 2)
    scores = (labels == np.arange(2)[:, None, None]).astype(np.float32)
    return Segmentation(labels, scores, ["cat", "dog"], np.full((side, side, 3), value, np.uint8))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def python(source: str, *arguments: object, wait: bool = True) -> subprocess.Popen:
    """Another process, which begins with `core` and these tests importable."""
    start = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
    process = subprocess.Popen([sys.executable, "-c", start + source, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if wait:
        process.wait()
    return process


def test_a_set_changes_together(tmp_path):
    with writing.file_set(tmp_path, ["a", "b", "record"]) as temporary:
        for name, path in temporary.items():
            path.write_text(name)
        assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in temporary.values())
    assert content(tmp_path) == {"a": b"a", "b": b"b", "record": b"record"}


KILLED = """
import os, signal
from core.files import writing
from test_writing import result
place = int(sys.argv[2])
def counted(function):
    def call(*arguments):
        global place
        if place == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        place -= 1
        return function(*arguments)
    return call
os.rename, os.replace = counted(os.rename), counted(os.replace)
result(7).save(sys.argv[1], "x", scores=True, configuration={"which": "new"})
"""


@pytest.mark.parametrize("step", range(10))
def test_a_kill_leaves_the_old_set_the_new_one_or_none(tmp_path, step):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, value, which in ((old, 2, "old"), (new, 7, "new"), (tmp_path / "out", 2, "old")):
        result(value).save(folder, "x", scores=True, configuration={"which": which})
    out = tmp_path / "out"
    done = python(KILLED, out, step)
    assert done.returncode == (-signal.SIGKILL if step < 8 else 0)
    found = {name: data for name, data in content(out).items() if not name.startswith(".tmp-")}
    if "x.json" in found:
        assert found == content(old if step == 0 else new)
    else:
        assert 0 < step < 8
    result(9).save(out, "x", scores=True)
    assert sorted(os.listdir(out)) == sorted(content(old))


@pytest.mark.parametrize("failing", range(8))
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_old_set_whole(tmp_path, monkeypatch, failing, failure):
    result(2).save(tmp_path, "x", scores=True, configuration={"which": "old"})
    before, steps = content(tmp_path), []

    def counted(function):
        def call(*arguments):
            steps.append(function)
            if len(steps) == failing + 1:
                raise failure
            return function(*arguments)

        return call

    monkeypatch.setattr(writing.os, "rename", counted(os.rename))
    monkeypatch.setattr(writing.os, "replace", counted(os.replace))
    with pytest.raises(type(failure)):
        result(7).save(tmp_path, "x", scores=True)
    monkeypatch.undo()
    assert content(tmp_path) == before


def test_a_set_that_cannot_be_put_back_is_told_gone(tmp_path, monkeypatch):
    result(2).save(tmp_path, "x")

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writing.os, "replace", fail)
    with pytest.raises(OSError, match="what stood there before is gone") as error:
        result(7).save(tmp_path, "x")
    assert error.value.filename == str(tmp_path / "x.json") and not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("part", ["x_overlay.png", "x_labels.png", "x_scores.npz", "x.json"])
def test_a_folder_where_a_file_should_come_costs_nothing(tmp_path, part):
    result(2).save(tmp_path, "x", scores=True)
    (tmp_path / part).unlink()
    (tmp_path / part / "mine").mkdir(parents=True)
    before = content(tmp_path)
    with pytest.raises(IsADirectoryError) as error:
        result(7).save(tmp_path, "x", scores=True)
    assert error.value.filename == str(tmp_path / part)
    assert content(tmp_path) == before and (tmp_path / part / "mine").is_dir()


def test_a_name_that_is_too_long_for_one_of_the_files_costs_nothing(tmp_path):
    stem = "x" * 245  # .json fits 255 bytes, _overlay.png does not
    (tmp_path / f"{stem}.json").write_text("old")
    before = content(tmp_path)
    with pytest.raises(OSError, match="too long"):
        result(7).save(tmp_path, stem)
    assert content(tmp_path) == before


def test_what_only_an_older_set_had_goes_with_it_but_the_tower_s_features(tmp_path):
    def drawn(path: Path) -> None:
        path.write_text("drawn")

    (tmp_path / "x_mine.txt").write_text("mine")
    result(2).save(tmp_path, "x", scores=True, more={"attention.png": drawn, "features.npz": drawn})
    result(2).save(tmp_path, "y", scores=True)
    result(7).save(tmp_path, "x")
    names = {"x_overlay.png", "x_labels.png", "x_features.npz", "x_mine.txt", "x.json"}
    assert {name for name in os.listdir(tmp_path) if name.startswith("x")} == names
    assert (tmp_path / "y_scores.npz").exists()


@pytest.mark.parametrize("files", [["../y.png", "x_/y.png", 5, None, "y.png"], "x_mine.txt", {"x_mine.txt": 1}, 7])
def test_a_json_file_of_another_program_takes_nothing_with_it(tmp_path, files):
    (tmp_path / "out").mkdir()
    for path in ("y.png", "out/y.png", "out/x_mine.txt"):
        (tmp_path / path).write_text("mine")
    (tmp_path / "out/x.json").write_text(json.dumps({"files": files}))
    result(7).save(tmp_path / "out", "x")
    kept = ("y.png", "out/y.png") if isinstance(files, dict) else ("y.png", "out/y.png", "out/x_mine.txt")
    assert all((tmp_path / path).read_text() == "mine" for path in kept)


TWO = """
from test_writing import result
for _ in range(40):
    result(int(sys.argv[2]), int(sys.argv[2])).save(sys.argv[1], "x", scores=True, configuration={"side": int(sys.argv[2])})
"""


def test_two_processes_on_one_folder_never_mix(tmp_path):
    for side in (6, 9):
        result(side, side).save(tmp_path / str(side), "x", scores=True, configuration={"side": side})
    sets = [content(tmp_path / str(side)) for side in (6, 9)]
    (tmp_path / "out").mkdir()
    both = [python(TWO, tmp_path / "out", side, wait=False) for side in (6, 9)]
    seen, left = 0, True
    while left:
        left = any(process.poll() is None for process in both)
        with writing._locked_folder(tmp_path / "out"):  # as no process changes a set then
            found = {name: data for name, data in content(tmp_path / "out").items() if name[0] != "."} if left else sets[0]
        assert not found or found in sets
        seen += bool(found)
    assert [process.returncode for process in both] == [0, 0] and seen > 1
    assert content(tmp_path / "out") in sets


def test_threads_on_one_folder_never_mix(tmp_path):
    def save(side: int) -> None:
        for _ in range(20):
            result(side, side).save(tmp_path, "x", configuration={"side": side})

    threads = [threading.Thread(target=save, args=(side,)) for side in (6, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x_labels.png", "x_overlay.png"]
    record = json.loads((tmp_path / "x.json").read_text())
    with Image.open(tmp_path / "x_labels.png") as labels:
        assert labels.width == record["size"]["width"] == record["configuration"]["side"]


WRITING = """
import os, time
from core.files.writing import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(100)
"""


def test_what_a_killed_run_left_is_removed_and_a_living_one_s_is_not(tmp_path):
    writer = python(WRITING, tmp_path / "a.png", wait=False)
    name = writer.stdout.readline().strip()
    (tmp_path / TEMPORARY).write_text("older version's")
    mine = {".tmp-mine", ".tmp-0123456789abcdef0", "tmp-0123456789abcdef.png"}
    for other in mine:
        (tmp_path / other).write_text("mine")
    writing.make_folder(tmp_path)
    assert set(os.listdir(tmp_path)) == mine | {name}
    writer.kill()
    writer.communicate()
    assert name in os.listdir(tmp_path)
    writing.make_folder(tmp_path)
    assert set(os.listdir(tmp_path)) == mine
    assert re.fullmatch(r"\.tmp-[0-9a-f]{16}\.png", name)


@pytest.mark.parametrize("clean", ["make_folder", "save", "store"])
def test_every_way_to_write_removes_what_was_left(tmp_path, clean):
    (tmp_path / TEMPORARY).write_text("half")
    if clean == "make_folder":
        writing.make_folder(tmp_path)
    elif clean == "save":
        result(7).save(tmp_path, "x")
    else:
        Store(tmp_path, "things").write("key", b"content")
    assert not (tmp_path / TEMPORARY).exists()


def test_a_writer_that_is_atomic_itself_serves_in_a_set_and_keeps_its_lock(tmp_path):
    def write(path: Path) -> None:
        save_record(path, "things 1", {}, {"x": np.arange(3)})
        python("from pathlib import Path; from core.files.writing import make_folder; make_folder(sys.argv[1])", tmp_path)

    paths = result(7).save(tmp_path, "x", more={"features.npz": write})
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in paths)
    assert np.load(tmp_path / "x_features.npz")["x"].tolist() == [0, 1, 2]


def test_links_and_pipes_called_so_are_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / TEMPORARY).symlink_to("mine")
    os.mkfifo(tmp_path / ".tmp-0123456789abcde0")
    writing.make_folder(tmp_path)
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / TEMPORARY).is_symlink()


def test_texts_are_a_set_too(tmp_path):
    writing.write_texts(tmp_path, {"a.md": "one", "a.json": "two"})
    (tmp_path / "a.md").unlink()
    (tmp_path / "a.md").mkdir()
    with pytest.raises(InputError, match=r"^cannot write .*: Is a directory$"):
        writing.write_texts(tmp_path, {"a.md": "three", "a.json": "four"})
    assert (tmp_path / "a.json").read_text() == "two"


@pytest.mark.parametrize("name", ["", "loop", "x" * 300, "file", "file/below", "a\0b"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    with pytest.raises(InputError) as error:
        writing.make_folder(name)
    assert "\n" not in str(error.value) and "\0" not in str(error.value)
    assert sorted(os.listdir()) == ["file", "loop"]

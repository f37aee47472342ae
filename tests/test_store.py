"""What is kept between runs: believed only as it was written, shared by processes, and never an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.files.cache import cache_folder
from core.files.store import Store

CONTENT = bytes(range(256))


@pytest.fixture
def kept(tmp_path):
    """The folder of a store, with one entry, and that entry's file."""
    Store(tmp_path / "kept", "things").write("key", CONTENT)
    (path,) = (tmp_path / "kept").iterdir()
    return tmp_path / "kept", path


def read(folder):
    return Store(folder, "things").read("key")


def test_what_was_written_is_read_and_nothing_else_is_there(kept, capsys):
    folder, _ = kept
    assert read(folder) == CONTENT and Store(folder, "things").read("other") is None
    assert read(folder / "no such") is None
    Store(folder, "things").write("key", b"")
    assert read(folder) == b"" and capsys.readouterr() == ("", "")


def test_no_damage_is_believed(kept, rng, capsys):
    folder, path = kept
    whole = path.read_bytes()
    for place in rng.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        assert read(folder) is None
    for content in (*(whole[:length] for length in range(len(whole))), whole + b"\0", whole * 2, CONTENT):
        path.write_bytes(content)
        assert read(folder) is None
    Store(folder, "things").write("key", CONTENT)
    assert path.read_bytes() == whole and read(folder) == CONTENT


def test_an_entry_in_another_s_place_is_not_believed(kept):
    folder, path = kept
    os.link(path, path.with_name(path.name.replace("key", "other")))
    assert Store(folder, "things").read("other") is None


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "device", "huge"])
def test_what_is_no_file_is_not_waited_for(kept, kind):
    folder, path = kept
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    else:
        path.symlink_to(path if kind == "loop" else "/dev/zero")
    store = Store(folder, "things")
    assert store.read("key") is None
    store.write("key", CONTENT)
    assert kind == "folder" or read(folder) == CONTENT


def test_damage_is_said_once(kept, capsys):
    folder, path = kept
    path.write_bytes(b"rubbish")
    (folder / path.name.replace("key", "other")).write_bytes(b"")
    store = Store(folder, "things")
    assert [store.read("key"), store.read("other")] == [None, None]
    assert capsys.readouterr().err == f"note: of the things kept in {folder} some are damaged: those are computed anew\n"


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from core.files.store import Store
for i in range(300):
    Store(Path(sys.argv[2]), "things").write("key", sys.argv[3].encode() * 1000)
"""


def test_processes_share_it(tmp_path):
    folder, root = tmp_path / "kept", str(Path(__file__).resolve().parents[1])
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, root, str(folder), letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(read(folder))
    assert seen - {None} <= {b"a" * 1000, b"b" * 1000} and seen != {None}
    assert [writer.returncode for writer in writers] == [0, 0] and len(os.listdir(folder)) == 1


def test_without_a_home_and_a_known_user_nothing_is_kept_and_that_is_said(monkeypatch, capsys):
    for name in ("JITTOR_OVSEG_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert cache_folder() is None
    store = Store(None, "things")
    assert store.read("key") is None
    for _ in range(2):
        store.write("key", CONTENT)
    assert capsys.readouterr().err == ("note: things are not cached (there is no home folder: set JITTOR_OVSEG_CACHE to one)\n")


def test_the_environment_says_where(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("JITTOR_OVSEG_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "jittor-ovseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jittor-ovseg"
    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"

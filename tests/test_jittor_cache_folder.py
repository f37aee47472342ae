"""Where Jittor's cache folder is, and what is said when it cannot be used."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import InputError
from jt_backend.start import cache_folder


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """The cache folder in an empty home."""
    monkeypatch.delenv("JITTOR_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".cache" / "jittor"


def test_cache_follows_jittors_own_rule(cache, monkeypatch, tmp_path):
    assert cache_folder.jittor_cache() == cache
    cache.mkdir(parents=True)
    (cache / "config.json").write_text(f'{{"JITTOR_HOME": "{tmp_path}/noted"}}')
    assert cache_folder.jittor_cache() == tmp_path / "noted" / ".cache" / "jittor"
    monkeypatch.setenv("JITTOR_HOME", str(tmp_path / "chosen"))
    assert cache_folder.jittor_cache() == tmp_path / "chosen" / ".cache" / "jittor"


def test_broken_settings_file_is_named(cache):
    cache.mkdir(parents=True)
    (cache / "config.json").write_text('{"JITTOR_')
    with pytest.raises(InputError, match=r"config\.json cannot be read as JSON: delete it"):
        cache_folder.jittor_cache()


@pytest.mark.parametrize("variable", ["HOME", "JITTOR_HOME"])
def test_unwritable_cache_is_named(monkeypatch, tmp_path, variable):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv(variable, str(in_the_way))
    with pytest.raises(InputError, match=f"{in_the_way}.*: set {variable} to a writable folder") as caught:
        cache_folder.check_writable(cache_folder.jittor_cache())
    assert "\n" not in str(caught.value)


def test_another_system_or_name_is_not_compiled(cache, monkeypatch):
    monkeypatch.setattr(cache_folder.importlib.metadata, "version", lambda _: "1.3.11.0")
    monkeypatch.setattr(cache_folder.importlib.util, "find_spec", lambda _: SimpleNamespace(origin="/site/jittor_utils"))
    key = cache_folder._md5("/site/jittor_utils")[:4]
    python = ".".join(map(str, sys.version_info[:3]))
    folder = cache / "jt1.3.11" / "g++12.2.0" / f"py{python}" / cache_folder._system_key() / "AnyCPU" / key / "default"
    folder.mkdir(parents=True)
    assert not cache_folder.is_compiled(cache, "default", for_gpu=False)
    (folder / "jittor_core.cpython-311-x86_64-linux-gnu.so").touch()
    assert cache_folder.is_compiled(cache, "default", for_gpu=False)
    assert not cache_folder.is_compiled(cache, "default", for_gpu=True)
    assert not cache_folder.is_compiled(cache, "main", for_gpu=False)
    monkeypatch.setattr(cache_folder.platform, "platform", lambda: "Linux-another-kernel")
    assert not cache_folder.is_compiled(cache, "default", for_gpu=False)


def test_a_user_without_a_home_is_one_line(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with pytest.raises(InputError, match="this user has none: set HOME to a writable folder"):
        cache_folder.jittor_cache()


def test_jittor_home_is_for_one_run(cache, monkeypatch, tmp_path):
    """Jittor's own rule, asked in another process, keeps to the folder of this run and notes nothing where later ones look."""
    pytest.importorskip("jittor")
    cache.mkdir(parents=True)
    for noted in (None, f'{{"JITTOR_HOME": "{tmp_path}/noted"}}'):
        if noted is not None:
            (cache / "config.json").write_text(noted)
        monkeypatch.setenv("JITTOR_HOME", str(tmp_path / "chosen"))
        chosen = cache_folder.jittor_cache()
        cache_folder.check_writable(chosen)
        with cache_folder.noted_for_this_run(chosen) as variables:
            command = [sys.executable, "-c", "import jittor_utils; print(jittor_utils.home())"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | variables)
        assert done.stdout.split()[-1] == str(tmp_path / "chosen")
        config = cache / "config.json"
        assert (config.read_text() if config.exists() else None) == noted
        assert not list(chosen.glob(".home-*"))


def test_a_folder_that_an_older_note_names_is_told(cache, monkeypatch, tmp_path):
    assert cache_folder.why_there(cache) is None
    cache.mkdir(parents=True)
    (cache / "config.json").write_text(f'{{"JITTOR_HOME": "{tmp_path}/noted"}}')
    line = cache_folder.why_there(cache_folder.jittor_cache())
    assert str(tmp_path / "noted") in line and str(cache / "config.json") in line and "\n" not in line
    monkeypatch.setenv("JITTOR_HOME", str(tmp_path / "chosen"))
    assert cache_folder.why_there(cache_folder.jittor_cache()) is None


@pytest.mark.parametrize("note", ["[]", '{"JITTOR_HOME": 3}'])
def test_a_note_of_another_kind_is_told(cache, note):
    cache.mkdir(parents=True)
    (cache / "config.json").write_text(note)
    with pytest.raises(InputError, match=r"config\.json .*: delete it"):
        cache_folder.jittor_cache()


def test_with_jittor_home_the_home_need_not_be_writable(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("JITTOR_HOME", str(tmp_path / "chosen"))
    cache_folder.check_writable(cache_folder.jittor_cache())

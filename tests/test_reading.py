"""Reading what people name: text as their editors write it, regular files only, and never without end."""

import json
import os
import socket
import subprocess
import sys

import pytest

from core.errors import InputError
from core.files import reading
from core.files.reading import open_file, read_bytes, read_json, read_lines, read_text
from core.files.records import load_record, save_record
from core.notes import note, one_line
from core.segment.query import read_classes_file


def error_of(read, path, **options) -> str:
    """The one line with which a file is refused; it is not waited for."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    """Writes bytes to a file, and gives its path."""

    def write(content: bytes, name: str = "a.txt"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_as_editors_write_it(file, end, mark):
    path = file(f"{mark}one{end}  zwei drei\t{end}{end}vier\u2028fünf{end}{end}".encode())
    assert read_text(path) == "one\n  zwei drei\t\n\nvier\u2028fünf\n\n"
    assert read_lines(path) == ["one", "zwei drei", "", "vier\u2028fünf"]


def test_joined_files_have_marks_within(file):
    assert read_lines(file("\ufeffa\n\ufeffb\n".encode())) == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\r\n"])
def test_a_file_without_text_has_no_lines(file, content):
    assert read_lines(file(content)) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("cat\ncafé".encode("latin-1"), "not UTF-8 text (line 2)"),
        ("cat".encode("utf-16"), "not UTF-8 text but UTF-16"),
        (b"cat\0dog", "not text"),
    ],
)
def test_what_is_no_text_is_told(file, content, reason):
    path = file(content)
    message = error_of(read_text, path, what="the list")
    assert message.startswith(f"cannot read the list {path}: ") and reason in message


@pytest.mark.parametrize("n", [10, 11])
def test_the_limit_is_the_limit(file, n):
    path = file(b"x" * n)
    if n == 10:
        assert read_bytes(path, 10) == b"x" * 10 and read_text(path, limit=10) == "x" * 10
    else:
        assert "more than the limit of 10" in error_of(read_text, path, limit=10)
        assert "more than the limit of 10" in error_of(open_file, path, limit=10)


def test_a_file_whose_size_is_not_told_is_bounded_too():
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("no /proc here")
    assert os.stat("/proc/self/maps").st_size == 0
    assert "more bytes than the limit of 100" in error_of(read_bytes, "/proc/self/maps", limit=100)


READERS = [
    open_file,
    read_text,
    read_lines,
    read_json,
    read_classes_file,
    lambda path: load_record(path, "thing 1", "thing", lambda *_: None),
]


@pytest.mark.parametrize("read", READERS)
def test_only_regular_files_are_opened(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "to-pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's path is short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        told = {name: error_of(read, tmp_path / name) for name in ("pipe", "to-pipe", "socket")}
    assert "pipe (FIFO)" in told["pipe"] and "pipe (FIFO)" in told["to-pipe"] and "socket" in told["socket"]
    assert "device" in error_of(read, "/dev/zero") and "device" in error_of(read, "/dev/null")
    assert "folder" in error_of(read, tmp_path)


def test_a_pipe_that_takes_a_file_s_place_is_not_waited_for(file, tmp_path, monkeypatch):
    path, checks = file(b"x"), []
    check = reading._check_regular

    def exchange(*arguments):
        check(*arguments)
        checks.append(arguments)
        if len(checks) == 1:
            path.unlink()
            os.mkfifo(path)

    monkeypatch.setattr(reading, "_check_regular", exchange)
    assert "pipe (FIFO)" in error_of(open_file, path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file"),
        ("", "No such file"),
        ("x" * 300, "too long"),
        ("loop", "symbolic links"),
        ("a\0b", "null"),
        ("a.txt/b", "Not a directory"),
        ("new\nline\x1b[31m", "No such file"),
    ],
)
def test_names_that_lead_nowhere(file, tmp_path, name, reason):
    file(b"")
    os.symlink("loop", tmp_path / "loop")
    assert reason in error_of(read_text, f"{tmp_path}/{name}" if name else "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_closed_files(file):
    path = file(b"secret")
    path.chmod(0)
    assert "permission denied" in error_of(read_text, path)


def test_json(file):
    assert read_json(file(b'\xef\xbb\xbf{"a":\r\n[1, 2.5, null]}')) == {"a": [1, 2.5, None]}
    for content in (b"", b"{", b'{"a": NaN}', b"[Infinity]", b"[-Infinity]", b"{'a': 1}", b"1" * 5000):
        assert "not JSON" in error_of(read_json, file(content))
    assert "nested too deeply" in error_of(read_json, file(b"[" * 100_000 + b"]" * 100_000))


def test_a_pipe_named_as_the_classes_of_a_command_ends_it(tmp_path):
    os.mkfifo(tmp_path / "words")
    command = [sys.executable, "scripts/segment.py", "x.png", "--classes-file"]
    environment = os.environ | {"JITTOR_OVSEG_CACHE": str(tmp_path)}
    for path, reason in ((str(tmp_path / "words"), "pipe (FIFO)"), ("/dev/zero", "device")):
        done = subprocess.run([*command, path], capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(f"error: cannot read classes from {path}: ") and reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_records_are_read_as_they_were(tmp_path):
    save_record(tmp_path / "a.npz", "thing 1", {"n": 3}, {})
    assert load_record(tmp_path / "a.npz", "thing 1", "thing", lambda facts, arrays: (facts["n"], arrays)) == (3, {})
    (tmp_path / "b.npz").write_text(json.dumps({}))
    assert "is not a thing" in error_of(lambda path: load_record(path, "thing 1", "thing", dict), tmp_path / "b.npz")


def test_notes_are_one_line_on_the_error_stream(capsys, monkeypatch):
    note("a thing")
    assert capsys.readouterr() == ("", "note: a thing\n")
    monkeypatch.setattr(sys, "stderr", None)
    note("nobody hears this")
    assert capsys.readouterr().out == ""


def test_one_line():
    assert one_line("a\nb\x1b[31m\u2028\udc80é 沙发") == r"a\nb\x1b[31m\u2028\udc80é 沙发"
    long = one_line("begin" + "x" * 100_000 + "end", 60)
    assert long.startswith("begin") and long.endswith("end") and len(long) <= 63

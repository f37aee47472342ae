"""How a command ends, whatever its streams are and whatever its input raises: one line, its code, no traceback."""

import contextlib
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scripts_as_modules import SCRIPTS, load_command

from core import InputError
from core.commands.options import OneLineParser, exit_code

ROOT = SCRIPTS.parent
FULL = "error: the output cannot be written: No space left on device\n"


def python(source: str, streams: str = "", unbuffered: bool = False) -> subprocess.CompletedProcess:
    """A process under a shell that redirects its streams, with `core` importable."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom core.commands.options import OneLineParser, exit_code\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"SOURCE": start + source} | ({"PYTHONUNBUFFERED": "1"} if unbuffered else {})
    command = f"'{sys.executable}' -c \"$SOURCE\" {streams}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)


PRINTS = "sys.exit(exit_code(lambda: print('a line') or print('said', file=sys.stderr) or 0))"


@pytest.mark.parametrize(
    ("streams", "code", "out", "err"),
    [
        ("", 0, "a line\n", "said\n"),
        ("> /dev/full", 2, "", FULL),
        ("2> /dev/full", 0, "a line\n", ""),
        ("2>&-", 0, "a line\n", ""),
        (">&-", 0, "", "said\n"),
        ("<&- >&- 2>&-", 0, "", ""),
        ("> /dev/full 2>&-", 2, "", ""),
    ],
)
def test_streams_that_cannot_be_written(streams, code, out, err):
    done = python(PRINTS, streams)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_full_disk_without_buffers_is_one_line_too():
    done = python(PRINTS, "> /dev/full", unbuffered=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("streams", "code", "err"), [("> /dev/full", 2, FULL), ("2>&-", 0, ""), (">&-", 0, ""), ("2> /dev/full", 0, "")]
)
def test_the_help_goes_the_same_ways(streams, code, err):
    done = python("OneLineParser(prog='x').parse_args(['--help'])", streams)
    assert (done.returncode, done.stderr) == (code, err)
    assert done.stdout.startswith("usage: x") == (streams in ("2>&-", "2> /dev/full"))


@pytest.mark.parametrize("streams", ["", "2>&-", "2> /dev/full"])
def test_a_wrong_option_has_its_code_whatever_the_streams(streams):
    done = python("OneLineParser().parse_args(['--magic'])", streams)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: " if not streams else "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    source = f"""
def run():
    file = open({str(tmp_path / "file")!r}, "w")
    return file.fileno()
sys.exit(exit_code(run))
"""
    assert python(source, "<&- >&- 2>&-").returncode > 2


@pytest.mark.parametrize("name", ["segment", "evaluate", "parity"])
def test_commands_run_where_the_streams_are_no_files(name, tmp_path, monkeypatch):
    class Plain:
        """What some notebooks have: no file, no reconfigure, no descriptor."""

        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    calls = {"segment": ["no.png", "--classes", "a"], "evaluate": ["--dataset", "voc21", "--root", "no"], "parity": ["--list"]}
    for make in (io.StringIO, Plain):
        out, err = make(), make()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert load_command(name).main(calls[name]) == (0 if name == "parity" else 2)
            with pytest.raises(SystemExit, match="0"):
                load_command(name).main(["--help"])
            with pytest.raises(SystemExit, match="2"):
                load_command(name).main(["--magic"])
        said, errors = (getattr(x, "text", None) or x.getvalue() for x in (out, err))
        assert "usage:" in said and errors.count("error: ") == (1 if name == "parity" else 2)


def raising(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 50), f"{'x' * 50}: File name too long"),
        (
            OSError(errno.ELOOP, "Too many levels of symbolic links", b"lo\xffop"),
            "lo\\udcffop: Too many levels of symbolic links",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a\nb"), "a\\nb: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "reading or writing failed: Input/output error"),
        (OverflowError("int too large to convert to float"), "OverflowError: int too large to convert to float"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion depth exceeded"),
        (UnicodeEncodeError("ascii", "ä", 0, 1, "no"), "UnicodeEncodeError: 'ascii' codec can't encode"),
        (MemoryError(), "there is not enough memory"),
        (np.core._exceptions._ArrayMemoryError((1 << 50,), np.dtype(float)), "there is not enough memory"),
        (InputError("bad \x1b[31mname\nof a file\r"), "bad \\x1b[31mname\\nof a file\\r\n"),
        (InputError(f"no word {'x' * 100_000}: leave it out"), "no word xxx"),
    ],
)
def test_what_input_may_raise_is_one_short_line(error, says, capsys):
    assert exit_code(raising(error)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: {says}") and err.count("\n") == 1 and len(err) < 2000 and "\x1b" not in err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        exit_code(raising(KeyError("a bug")))


def test_a_long_option_is_not_echoed_whole(capsys):
    parser = OneLineParser()
    parser.add_argument("--n", type=int)
    for argument in ("x" * 100_000, "9" * 5000):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(["--n", argument])
        err = capsys.readouterr().err
        assert err.startswith("error: argument --n: invalid int value") and err.count("\n") == 1 and len(err) < 2000
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--a\nb\x1b"])
    assert capsys.readouterr().err == "error: unrecognized arguments: --a\\nb\\x1b (--help lists all options)\n"


@pytest.mark.parametrize("option", ["segment.py a.png --classes a --out", "segment.py a.png --classes a --features",
                                    "evaluate.py --dataset voc21 --root", "evaluate.py --json", "evaluate.py --out",
                                    "evaluate.py --classes-file", "parity.py --json", "parity.py --html", "parity.py --picture",
                                    "parity.py dump --backend numpy --out"])  # fmt: skip
def test_an_empty_name_is_refused(option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *arguments = option.split()
    with pytest.raises(SystemExit, match="2"):
        load_command(Path(command).stem).main([*arguments, ""])
    assert "must name a file or a folder, not ''" in capsys.readouterr().err and os.listdir() == []


@pytest.mark.parametrize("place", ["loop", "x" * 300, "file/below", "loop/below"])
@pytest.mark.parametrize(
    "call",
    [
        "segment a.png --classes a --out {}",
        "segment {} --classes a",
        "segment a.png --classes a --features {}",
        "segment a.png --classes-file {}",
        "evaluate --dataset voc21 --root {}",
        "evaluate --dataset ade20k --derive-labels --root {}",
        "evaluate --method naclip --option magic=1 --json {}",
        "parity --only magic --json {}",
        "parity --only magic --html {}",
        "parity --picture {} --classes a",
        "parity dump --backend numpy --only magic --out {}",
        "parity compare {} {}",
    ],
)
def test_places_that_cannot_be_are_one_line(call, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    command, *arguments = call.format(place, place).split()
    assert load_command(command).main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1

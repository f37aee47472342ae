"""Picture files that are cut, damaged, too large, or of a kind that is not read: one line, and nothing else anywhere."""

import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures_by_hand import fits, one_of_each_kind, plain_netpbm, saved, tiff
from PIL import Image, ImageFile

from core.errors import InputError
from core.files.pictures import FORMATS, open_picture
from core.segment.pictures import read_picture

KINDS = one_of_each_kind()
ROOT = Path(__file__).resolve().parents[1]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
WMF = b"\xd7\xcd\xc6\x9a\0\0" + bytes([0, 0, 0, 0, 9, 0, 9, 0]) + b"\x60\0" + b"\0" * 6 + b"\1\0\t\0" + b"\0" * 60


def outcome(path):
    """The picture, or the one line with which it is refused; anything else goes on."""
    try:
        return read_picture(path)
    except InputError as error:
        assert "\n" not in str(error) and str(error).startswith(f"cannot read {path}: ")
        return str(error)


@pytest.fixture
def refusal(tmp_path):
    """The line with which a file of some content is refused."""

    def of(content, name="innocent.png"):
        (tmp_path / name).write_bytes(content)
        told = outcome(tmp_path / name)
        assert isinstance(told, str)
        return told

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_whatever_it_is_called(tmp_path, kind):
    (tmp_path / "picture.txt").write_bytes(KINDS[kind])
    assert outcome(tmp_path / "picture.txt").shape == (13, 17, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_refused_or_lacks_nothing(tmp_path, kind, capfd):
    path, content = tmp_path / "cut", KINDS[kind]
    path.write_bytes(content)
    whole = outcome(path)
    capfd.readouterr()
    rng = np.random.default_rng(0)
    for cut in {*rng.integers(0, len(content), 25), *range(len(content) - 8, len(content))}:
        path.write_bytes(content[:cut])
        told = outcome(path)
        assert isinstance(told, str) or np.array_equal(told, whole), cut
    assert all(line.startswith("note: ") for line in capfd.readouterr().err.splitlines())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith(("FITS", "plain"))])
def test_a_cut_that_no_decoder_notices_is_refused(tmp_path, kind, capfd):
    path, content = tmp_path / "cut", KINDS[kind]
    for cut in range(1, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:-cut])
        assert isinstance(outcome(path), str)


def test_a_number_cut_in_its_middle_is_no_number(refusal):
    values = np.array([[0, 7, 128], [1, 2, 254]])
    for content in (plain_netpbm(values), plain_netpbm(values.repeat(3, axis=1).reshape(2, 3, 3))):
        for cut in (1, 2, 3):
            assert "truncated" in refusal(content[:-cut])
    assert "2880" in refusal(fits(np.ones((9, 9), np.uint8))[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path, kind, capfd):
    rng = np.random.default_rng(sum(kind.encode()))
    path = tmp_path / "damaged"
    for n in range(40):
        content = bytearray(KINDS[kind])
        for place in rng.integers(0, len(content) if n % 2 else min(len(content), 200), rng.integers(1, 6)):
            content[place] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
        if n % 5 == 0:
            start = rng.integers(len(content))
            del content[start : start + rng.integers(1, 50)]
        path.write_bytes(content)
        told = outcome(path)
        assert isinstance(told, str) or (told.dtype == np.uint8 and told.ndim == 3 and told.shape[2] == 3)
    streams = capfd.readouterr()
    assert streams.out == "" and all(line.startswith("note: ") for line in streams.err.splitlines())


def test_pillow_logs_nothing(tmp_path):
    """In a fresh Python: pytest hears what is logged, so that Python itself does not print it."""
    content = tiff(np.zeros((4, 4, 3), np.uint8)).replace(b"\x15\x01\3\0\1\0\0\0\3\0", b"\x15\x01\3\0\1\0\0\0\xfe\0")
    (tmp_path / "a.tif").write_bytes(content)
    code = "import sys; from core.segment.pictures import read_picture; read_picture(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.tif"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    *traceback, last = done.stderr.splitlines()
    assert traceback[0].startswith("Traceback") and "More samples" not in done.stderr and "cannot read" in last


def test_libtiff_says_nothing_and_others_are_heard(tmp_path, capfd):
    path = tmp_path / "damaged.tif"
    content = bytearray(KINDS["TIFF tiff_lzw"])
    content[20:200] = b"\xff" * 180
    path.write_bytes(content)
    stop = threading.Event()

    def speak():
        while not stop.is_set():
            os.write(2, b"heard\n")
            written.append(1)

    written: list[int] = []
    thread = threading.Thread(target=speak)
    thread.start()
    for _ in range(20):
        assert "damaged" in outcome(path) or "truncated" in outcome(path)
    stop.set()
    thread.join()
    lines = capfd.readouterr().err.splitlines()
    assert set(lines) == {"heard"} and len(lines) == len(written)


@pytest.mark.parametrize(("content", "kind"), [(EPS, "EPS"), (b"\xc5\xd0\xd3\xc6" + b"\0" * 60 + EPS, "EPS"), (WMF, "WMF")])
def test_no_other_program_is_run(refusal, tmp_path, monkeypatch, content, kind):
    for name in ("gs", "gswin32c", "gswin64c"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for anew
    for name in ("innocent.png", "honest.eps"):
        assert f"{kind} is a kind of file that is not read" in refusal(content, name)
    if content == EPS:
        with Image.open(tmp_path / "honest.eps") as image, pytest.raises(InputError, match="of the kind EPS are not read"):
            read_picture(image)
    assert not (tmp_path / "ran").exists()


def test_a_file_within_another_is_not_opened(refusal):
    """IPTC hands what it holds to whatever reader fits."""
    head = b"\x1c\x03\x3c\0\x02\1\0" + b"\x1c\x03\x14\0\x02\0\x09" + b"\x1c\x03\x1e\0\x02\0\x09" + b"\x1c\x03\x78\0\1\5"
    refusal(head + b"\x1c\x08\x0a\0" + bytes([len(EPS)]) + EPS)


def test_what_is_read_is_named():
    Image.init()
    assert {"PNG", "JPEG", "TIFF", "WEBP"} < set(FORMATS) and not {"EPS", "WMF", "IPTC", "FPX", "MPEG"} & set(FORMATS)
    assert set(Image.OPEN) - set(FORMATS) >= {"EPS", "WMF", "IPTC", "BUFR", "GRIB", "HDF5"}


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7\n", b"<svg/>", b"\0\0\0\x18ftypheic", b"GIF", b"\x89PNG", b"BM", b"II*\0", b"P6"]
)
def test_what_is_no_picture_is_one_line(refusal, content):
    refusal(content)


def test_only_regular_files_are_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe (FIFO)" in outcome(tmp_path / "pipe")
    assert "device" in outcome(Path("/dev/zero"))
    os.symlink("loop", tmp_path / "loop")
    assert "no such file" in outcome(tmp_path / "loop")


def test_an_odd_name_is_one_line(tmp_path):
    path = tmp_path / "a\nb\x1b[31m.png"
    for content in (b"", b"words", saved(Image.new("RGB", (9, 9)), "PNG")[:-30]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\\nb\\x1b\[31m.png: "):
            read_picture(path)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_picture(path)


def test_a_block_that_reads_a_picture_has_the_same_errors(tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(KINDS["PNG"][:-100])
    with pytest.raises(InputError, match="truncated"), open_picture(path) as image:
        image.load()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def large_png(side: int) -> bytes:
    """A grey PNG of many pixels in few bytes."""
    rows = zlib.compressobj(9)
    data = b"".join([*(rows.compress(bytes(side + 1)) for _ in range(side)), rows.flush()])
    small = saved(Image.new("L", (1, 1)), "PNG")

    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    return small[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_larger_than_memory_is_that_picture_s_error(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(large_png(9450))
    assert path.stat().st_size < 100_000
    code = """
import resource, sys
from PIL import Image
from core.segment.pictures import read_picture
from core.errors import InputError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)
for path in sys.argv[1:]:
    try:
        print(read_picture(path).shape)
    except InputError as error:
        print(error)
"""
    small = tmp_path / "small.png"
    small.write_bytes(KINDS["PNG"])
    done = subprocess.run([sys.executable, "-c", code, path, small], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines()[0].startswith(f"cannot read {path}: there is not enough memory for its pixels")
    assert done.stdout.splitlines()[1] == "(13, 17, 3)" and done.stderr == "" and done.returncode == 0

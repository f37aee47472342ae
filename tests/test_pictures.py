"""`read_picture`: everything Pillow can mean becomes (H, W, 3) uint8, and everything bad becomes one clear line."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageFile

from core.errors import InputError
from core.segment.pictures import read_picture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def pixels() -> np.ndarray:
    """A 5 x 7 picture without any symmetry."""
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def error_of(source: object) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(InputError) as caught:
        read_picture(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_picture(array: np.ndarray, expected: np.ndarray | list, atol: int = 0) -> None:
    """The array is a picture, contiguous and writable, and equals the expected one."""
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    assert array.flags.c_contiguous and array.flags.writeable
    np.testing.assert_allclose(array.astype(int), np.asarray(expected).astype(int), atol=atol)


def test_path_string_image_and_array_agree(tmp_path, pixels):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for source in (path, str(path), Image.open(path), Image.fromarray(pixels), pixels):
        assert_picture(read_picture(source), pixels)


def test_an_array_is_copied(pixels):
    before = pixels.copy()
    read_picture(pixels)[:] = 0
    np.testing.assert_array_equal(pixels, before)


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "one.png")
    assert_picture(read_picture(tmp_path / "one.png"), [[RED]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, pixels, orientation):
    upright = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).transpose(1, 0, 2), 8: np.rot90(pixels),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert_picture(read_picture(tmp_path / "turned.png"), upright)


def test_grey_and_black_and_white(tmp_path):
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert_picture(read_picture(tmp_path / "grey.png"), np.stack([grey] * 3, axis=-1))
    Image.fromarray(grey > 150).save(tmp_path / "bits.png")
    assert_picture(read_picture(tmp_path / "bits.png"), [[[0] * 3] * 2, [[255] * 3] * 2])


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, ending):
    values = np.array([[0, 256, 257, 12850], [32768, 40000, 65279, 65535]], dtype=np.uint16)
    if ending == "pgm":
        (tmp_path / "deep.pgm").write_bytes(b"P5 4 2 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / f"deep.{ending}")
    expected = np.rint(values / 257)[..., None].repeat(3, axis=-1)
    assert_picture(read_picture(tmp_path / f"deep.{ending}"), expected)


def test_16_bit_grey_held_in_32_bits_and_big_endian():
    values = np.array([[0, 257], [32896, 65535]])
    expected = np.array([[0, 1], [128, 255]])[..., None].repeat(3, axis=-1)
    assert_picture(read_picture(Image.fromarray(values.astype(np.int32))), expected)
    assert_picture(read_picture(Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes())), expected)


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_values_of_unknown_range_are_refused(value):
    assert "unknown range" in error_of(Image.fromarray(np.array([[0, value]], dtype=np.int32)))


def test_float_pictures_are_refused():
    assert "floats" in error_of(Image.fromarray(np.array([[0.5]], dtype=np.float32)))


def test_alpha_is_laid_on_white(tmp_path):
    picture = Image.new("RGBA", (3, 1))
    for x, colour in enumerate([(*RED, 255), (*RED, 0), (*RED, 128)]):
        picture.putpixel((x, 0), colour)
    picture.save(tmp_path / "alpha.png")
    assert_picture(read_picture(tmp_path / "alpha.png"), [[RED, WHITE, (255, 127, 127)]], atol=1)


def test_grey_alpha_and_transparent_palette_are_laid_on_white(tmp_path):
    Image.new("LA", (1, 1), (10, 0)).save(tmp_path / "la.png")
    assert_picture(read_picture(tmp_path / "la.png"), [[WHITE]])
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    assert_picture(read_picture(tmp_path / "p.png"), [[RED, WHITE]])


def test_palette(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([*BLUE, *GREEN])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png")
    assert_picture(read_picture(tmp_path / "p.png"), [[BLUE, GREEN]])


def test_cmyk_jpeg(tmp_path):
    picture = Image.new("RGB", (16, 16), RED).convert("CMYK")
    picture.save(tmp_path / "print.jpg", quality=100)
    assert_picture(read_picture(tmp_path / "print.jpg"), np.full((16, 16, 3), RED), atol=4)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert_picture(read_picture(tmp_path / "moving.gif"), np.full((4, 4, 3), RED))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp", "gif"])
def test_truncated(tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    message = error_of(path)
    assert message.startswith(f"cannot read {path}: ") and "truncated" in message
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_truncated_image_in_hand():
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    image = Image.open(io.BytesIO(buffer.getvalue()[:-200]))
    assert error_of(image).startswith("cannot read the picture: the file is truncated")


@pytest.mark.parametrize("cut", range(1, 200, 9))
def test_a_jpeg_cut_anywhere_gives_one_line(tmp_path, cut):
    path = tmp_path / "cut.jpg"
    Image.new("RGB", (8, 8), RED).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    assert error_of(path).startswith(f"cannot read {path}: ")


def test_a_damaged_png_gives_one_line(tmp_path):
    path = tmp_path / "damaged.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[200:260] = b"x" * 60
    path.write_bytes(content)
    assert "damaged" in error_of(path)


def test_text_named_png(tmp_path):
    (tmp_path / "text.png").write_text("these are words, not pixels\n")
    assert "not a picture" in error_of(tmp_path / "text.png")


def test_zero_bytes(tmp_path):
    (tmp_path / "empty.png").touch()
    assert "empty" in error_of(tmp_path / "empty.png")


def test_missing_folder_and_nonsense_paths(tmp_path):
    assert "no such file" in error_of(tmp_path / "missing.png")
    assert "no such file" in error_of("")
    assert "no such file" in error_of("x" * 5000)
    assert "folder" in error_of(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(tmp_path):
    path = tmp_path / "secret.png"
    Image.new("RGB", (1, 1)).save(path)
    path.chmod(0)
    assert "permission denied" in error_of(path)


@pytest.mark.parametrize("limit", [50, 150])
def test_more_pixels_than_the_limit(tmp_path, monkeypatch, limit):
    path = tmp_path / "bomb.png"
    Image.new("RGB", (10, 20), RED).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # over twice the limit Pillow raises; below it only warns
    assert f"more pixels than the limit of {limit}" in error_of(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    assert read_picture(path).shape == (20, 10, 3)


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((4, 4), np.uint8), "grey"),
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((3, 4, 5), np.uint8), "last axis"),
        (np.zeros((4, 4, 3), np.float32), "astype(np.uint8)"),
        (np.zeros((4, 4, 3), np.int64), "astype(np.uint8)"),
        (np.zeros((0, 4, 3), np.uint8), "at least 1"),
        (np.zeros((1, 4, 4, 3), np.uint8), "(H, W, 3) uint8"),
    ],
)
def test_arrays_of_another_kind_are_refused(array, advice):
    message = error_of(array)
    assert advice in message and str(array.shape) in message and str(array.dtype) in message


@pytest.mark.parametrize("source", [None, 3, [[0, 0, 0]], b"bytes", io.BytesIO()])
def test_other_things_are_refused(source):
    assert "a path, a Pillow image or an (H, W, 3) uint8 array" in error_of(source)

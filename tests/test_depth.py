"""Pictures of more than 8 bits: their range is what the file says, or what the values need; none is black in silence."""

import io

import numpy as np
import pytest
from pictures_by_hand import fits, plain_netpbm, png_16, saved, tiff
from PIL import Image, features

from core.errors import InputError
from core.segment.pictures import read_picture


@pytest.fixture
def read(tmp_path, capsys):
    """Reads a file, and the image that Pillow opens of it, or one in hand; gives the grey or RGB values and the note."""

    def read_it(content):
        told = ""
        if isinstance(content, Image.Image):
            picture = read_picture(content)
        else:
            path = tmp_path / "picture"
            path.write_bytes(content)
            picture = read_picture(path)
            told = capsys.readouterr().err
            np.testing.assert_array_equal(read_picture(Image.open(io.BytesIO(content))), picture)
            assert capsys.readouterr().err == told.replace(str(path), "the picture")
        notes = (told or capsys.readouterr().err).splitlines()
        assert all(line.startswith("note: ") for line in notes) and len(notes) <= 1
        grey = (picture == picture[..., :1]).all()
        return (picture[..., 0] if grey else picture), "".join(notes)

    return read_it


def ramp(bits):
    return np.arange(1 << bits, dtype=np.uint16).reshape(1 << bits // 2, -1)


def scaled(values, low, high):
    return np.rint((values.astype(float) - low) * 255 / (high - low))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("write", [png_16, tiff, fits, lambda values: tiff(values, ">"), plain_netpbm])
def test_the_values_tell_the_range_and_a_note_says_so(read, bits, write):
    content = plain_netpbm(ramp(bits), 65535) if write is plain_netpbm else write(ramp(bits))
    grey, note = read(content)
    np.testing.assert_allclose(grey, scaled(ramp(bits), 0, 2**bits - 1), atol=1)
    assert grey.max() == 255 and grey.min() == 0
    assert f"its values reach {2**bits - 1}" in note and f"{bits} bits" in note


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
@pytest.mark.parametrize("highest", [1, 3, 15, 70, 255, 300, 1000, 3000, 9000, 16383])
def test_no_picture_in_hand_is_black(read, kind, highest):
    grey, note = read(Image.fromarray(np.array([[0, highest]], dtype=kind)))
    assert grey.max() > 60 and f"its values reach {highest}" in note


def test_values_of_the_full_range_are_as_ever_and_without_a_note(read):
    full = ramp(16)
    for values in (full, full // 2, full[64:]):  # down to 14 bits all is full range
        for content in (png_16(values), tiff(values), Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
            grey, note = read(content)
            np.testing.assert_array_equal(grey, np.rint(values / np.float32(257)))
            assert note == ""


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (0, 1023), (100, 5000), (0, 40000)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_states_its_range(read, low, high, order):
    values = np.linspace(low, high, 64).astype(np.uint16).reshape(8, 8) // 2 + low // 2
    grey, note = read(tiff(values, order, t340=(3, low), t341=(3, high)))
    np.testing.assert_allclose(grey, scaled(values, low, high), atol=1)
    assert note == ""


def test_a_tiff_states_the_range_of_32_bits_and_of_floats(read):
    values = np.array([[-1000, 0], [500, 3000]], np.int32)
    grey, note = read(tiff(values, t340=(9, -1000), t341=(9, 3000)))
    np.testing.assert_array_equal(grey, [[0, 64], [96, 255]])
    floats, other = read(tiff(values.astype(np.float32) / 1000, t340=(11, -1.0), t341=(11, 3.0)))
    np.testing.assert_array_equal(floats, grey)
    assert note == other == ""


def test_a_tiff_of_12_bits_a_sample_says_so(read):
    values = np.array([[0, 1000, 2000, 4000]])
    packed = bytes.fromhex("0003e87d0fa0")
    grey, note = read(tiff(values.astype(np.uint16), bits=12, packed=packed))
    np.testing.assert_array_equal(grey, scaled(values, 0, 4095))
    assert note == ""


def test_a_stated_range_that_does_not_hold_the_values_is_told(read):
    grey, note = read(tiff(ramp(12), t341=(3, 100)))
    assert grey.max() == 255 and "states the range 0 to 100, but its values reach 4095" in note
    with pytest.raises(InputError, match="-5 to 70000, of unknown range"):
        read(tiff(np.array([[-5, 70000]], np.int32), t341=(4, 100)))
    for values in ([[0.5, 2.0]], [[0.5, np.nan]]):
        with pytest.raises(InputError, match="floats"):
            read(tiff(np.array(values, np.float32), t341=(11, 1.0)))


@pytest.mark.parametrize("bits", [9, 10, 12, 15])
def test_a_png_states_its_bits(read, bits):
    dim = np.array([[0, 100], [2**bits // 4, 2**bits // 3]], np.uint16)
    grey, note = read(png_16(dim, significant=bits))
    np.testing.assert_allclose(grey, scaled(dim, 0, 2**bits - 1), atol=1)
    assert note == ""
    upscaled = (np.array([[0, 1], [2, 3]]) * 65535 // 3).astype(np.uint16)  # as the standard has it
    grey, note = read(png_16(upscaled, significant=bits))
    np.testing.assert_array_equal(grey, [[0, 85], [170, 255]])
    assert note == ""


@pytest.mark.parametrize("maxval", [1023, 4095, 40000])
def test_netpbm_states_its_range(read, maxval):
    values = np.array([[0, 10], [maxval // 4, maxval // 3]], np.uint16)
    for content in (plain_netpbm(values, maxval), b"P5 2 2 %d\n" % maxval + values.astype(">u2").tobytes()):
        grey, note = read(content)
        np.testing.assert_allclose(grey, scaled(values, 0, maxval), atol=1)
        assert note == ""


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_jpeg_2000_of_16_bits(read):
    grey, note = read(saved(Image.fromarray(ramp(12)), "JPEG2000", irreversible=False))
    assert grey.max() == 255 and "12 bits" in note


def colours(bits):
    values = np.random.default_rng(bits).integers(0, 1 << bits, (9, 11, 3)).astype(np.uint16)
    values[0, :2] = [[0] * 3, [(1 << bits) - 1] * 3]
    return values


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("write", ["png", "tiff <", "tiff >", "binary", "plain"])
def test_colours_of_fewer_bits_than_16(read, bits, write):
    values = colours(bits)
    content = {
        "png": png_16(values), "tiff <": tiff(values, "<"), "tiff >": tiff(values, ">"),
        "binary": b"P6 11 9 65535\n" + values.astype(">u2").tobytes(), "plain": plain_netpbm(values, 65535),
    }[write]  # fmt: skip
    picture, note = read(content)
    np.testing.assert_allclose(picture, scaled(values, 0, 2**bits - 1), atol=1)
    assert f"{bits} bits" in note


def test_colours_of_the_full_range_keep_their_upper_bytes(read):
    values = colours(16)
    for content in (png_16(values), tiff(values), tiff(values, ">")):
        picture, note = read(content)
        np.testing.assert_array_equal(picture, values >> 8)
        assert note == ""


def test_colours_whose_file_states_the_range(read):
    values = colours(12)
    for content in (png_16(values, 12), tiff(values, t341=(3, 4095, 4095, 4095))):
        picture, note = read(content)
        np.testing.assert_allclose(picture, scaled(values, 0, 4095), atol=1)
        assert note == ""
    bright = np.maximum(values, 3000)  # which by itself is no sign of anything
    picture, note = read(tiff(bright * 10, t341=(3, 40950, 40950, 40950)))
    np.testing.assert_allclose(picture, scaled(bright, 0, 4095), atol=1)


@pytest.mark.parametrize("write", [png_16, tiff])
@pytest.mark.parametrize("opaque", [4095, 65535])
def test_alpha_has_a_range_of_its_own(read, write, opaque):
    values = np.dstack([colours(12), np.full((9, 11), opaque, np.uint16)])
    values[3, 3, 3] = 0
    picture, note = read(write(values))
    expected = scaled(values[..., :3], 0, 4095)
    expected[3, 3] = 255
    np.testing.assert_allclose(picture, expected, atol=1)
    assert "12 bits" in note


def test_grey_with_alpha(read):
    values = np.stack([ramp(12), np.full((64, 64), 65535, np.uint16)], axis=-1)
    grey, note = read(png_16(values))
    np.testing.assert_allclose(grey, scaled(ramp(12), 0, 4095), atol=1)
    assert "12 bits" in note


def test_deep_colours_are_turned_upright(tmp_path):
    values = colours(12)
    (tmp_path / "a.tif").write_bytes(tiff(values, t274=(3, 6)))
    (tmp_path / "b.tif").write_bytes(tiff(values))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), np.rot90(read_picture(tmp_path / "b.tif"), -1))


def test_a_picture_that_stays_black_says_so(read):
    dark = np.array([[0, 3000]], np.uint16)
    for content in (tiff(dark, t341=(3, 65535)), plain_netpbm(dark, 65534), png_16(dark * 0), tiff(np.zeros((2, 2, 3), "u2"))):
        grey, note = read(content)
        assert grey.max() <= 16 and f"brightest value is {grey.max()} of 255: nearly black" in note


def test_a_tiff_that_libtiff_unpacks(read):
    grey, note = read(saved(Image.fromarray(ramp(12)), "TIFF", compression="tiff_lzw"))
    assert grey.max() == 255 and "12 bits" in note


def test_8_bit_pictures_may_be_as_dark_as_they_like(read):
    for kind in ("PNG", "TIFF", "PPM", "SGI", "BMP"):
        grey, note = read(saved(Image.new("RGB", (4, 4), (3, 3, 3)), kind))
        assert (grey == 3).all() and note == ""

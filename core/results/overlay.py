"""The picture that a person looks at: class colours over the picture, contours, and a legend."""

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from core.results.colours import class_colours

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_SMALL_SIDE = 480
_LONGEST_NAME = 28


def draw_overlay(image: np.ndarray, labels: np.ndarray, legend: list[tuple[int, str, float]], alpha: float) -> "Image.Image":
    """Blend class colours into a copy of the picture, draw contours and put a legend beside or under it.

    image: (H, W, 3) uint8 RGB; labels: (H, W) integers; legend: (class index, name, share), in the order to show.
    alpha: weight of the class colours, 0..1. Pictures under 480 pixels are enlarged by a whole factor.
    """
    colours = class_colours(int(labels.max()) + 1)
    factor = enlargement(*labels.shape)
    return with_legend(coloured(image, labels, colours, alpha, factor), legend, colours)


def enlargement(height: int, width: int) -> int:
    """The whole factor by which a picture under 480 pixels is enlarged."""
    return max(1, round(_SMALL_SIDE / max(height, width)))


def coloured(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float, factor: int) -> "Image.Image":
    """The picture (H, W, 3) with the colours (C, 3) of its labels (H, W) blended in, enlarged, with white contours."""
    from PIL import Image

    picture = Image.fromarray(image)
    # A picture's own colours would pass for class colours, so it has turned to grey when those are half in.
    faded = Image.blend(picture, picture.convert("L").convert("RGB"), min(1.0, 2 * alpha))
    blend = np.array(Image.blend(faded, Image.fromarray(colours[labels]), alpha))
    labels, blend = (array.repeat(factor, axis=0).repeat(factor, axis=1) for array in (labels, blend))
    blend[contours(labels, thickness=max(1, round(max(labels.shape) / 800)))] = 255
    return Image.fromarray(blend)


def contours(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """(H, W) bool: pixels whose label differs from that of a pixel up to `thickness` to the right or below."""
    edge = np.zeros(labels.shape, dtype=bool)
    for step in range(1, thickness + 1):
        edge[:-step] |= labels[:-step] != labels[step:]
        edge[:, :-step] |= labels[:, :-step] != labels[:, step:]
    return edge


def with_legend(picture: "Image.Image", legend: list[tuple[int, str, float]], colours: np.ndarray) -> "Image.Image":
    """The picture on a white sheet with the legend, in columns, beside it, or under it when it is wide."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(14, round(min(picture.size) / 32))
    row, gap = round(1.5 * size), size
    font = ImageFont.load_default(size)
    texts = [f"{_drawable_name(name, index, font)}  {percentage(share)}" for index, name, share in legend]
    column = row + gap + max(round(font.getlength(text)) for text in texts)

    under = picture.width > 2 * picture.height
    left, top = (gap, picture.height + gap) if under else (picture.width + gap, gap)
    n_rows = -(-len(texts) // max(1, picture.width // column)) if under else max(1, (picture.height - gap) // row)
    n_columns = -(-len(texts) // n_rows)
    right, bottom = left + n_columns * column, top + min(n_rows, len(texts)) * row

    sheet = Image.new("RGB", (max(picture.width, right), max(picture.height, bottom)), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for place, ((index, _, _), text) in enumerate(zip(legend, texts, strict=True)):
        x, y = left + place // n_rows * column, top + place % n_rows * row
        draw.rectangle((x, y, x + size, y + size), fill=tuple(colours[index].tolist()), outline="black")
        draw.text((x + row, y + size / 2), text, fill="black", font=font, anchor="lm")
    return sheet


def percentage(share: float) -> str:
    """A share as a percentage; a class that is there never shows as 0.0%."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _drawable_name(name: str, index: int, font: "ImageFont.FreeTypeFont") -> str:
    """The name, shortened, if need be without its accents; "class INDEX" where the built-in font lacks a character."""
    missing = bytes(font.getmask("\uffff"))
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    for text in (name, plain):
        if all(c.isprintable() and bytes(font.getmask(c)) != missing for c in text):
            return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3].rstrip() + "..."
    return f"class {index}"

"""What a method saw, drawn: panels side by side on a white sheet, each with a caption under it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.clip.features import ClipFeatures
from core.explain.look import Sight, look
from core.results.colours import class_colours, heat_colours
from core.results.overlay import coloured, enlargement, percentage, with_legend
from core.segment.query import Query
from core.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image, ImageDraw, ImageFont

SMALLEST_PATCH = 8  # pixels of a patch in a drawing, at least
NARROWEST = 300  # pixels of a caption's line, at least
HEAT_SHARE = 0.65  # of a heat map's colour; the rest is the grey picture under it
MARK, RIM = (255, 255, 255), (0, 0, 0)


class Panel(NamedTuple):
    """A picture, what is said under it, and for a heat map the share of attention that its brightest colour stands for."""

    picture: "Image.Image"
    caption: str
    brightest: float | None = None


def explain(
    segmenter: Segmenter,
    picture: "str | Path | Image.Image | np.ndarray",
    classes: Sequence[str] | Query,
    at: tuple[int, int] | None = None,
    features: ClipFeatures | None = None,
) -> "dict[str, Image.Image]":
    """Drawings of what the method saw: "attention" and, where it has them, "outliers", "repair" and "feedback".

    The arguments and errors are those of `core.explain.look.look`. It takes one pass of the tower, or none with `features`.
    """
    return draw_sheets(look(segmenter, picture, classes, at, features))


def draw_sheets(sight: Sight) -> "dict[str, Image.Image]":
    """The drawings by name: "attention" and, where the method has them, "outliers", "repair" and "feedback"."""
    sheets = {"attention": attention_sheet(sight)}
    if sight.outliers is not None:
        sheets["outliers"] = outlier_sheet(sight)
        sheets["repair"] = repair_sheet(sight)
    if sight.feedback is not None:
        sheets["feedback"] = feedback_sheet(sight)
    return sheets


def attention_sheet(sight: Sight) -> "Image.Image":
    """The attention of the chosen patch as a heat map; two where FSA has corrected it."""
    (row, column), (rows, columns) = sight.patch, sight.grid
    y, x = (int((i + 0.5) * side / n) for i, side, n in zip(sight.patch, sight.image.shape, sight.grid, strict=False))
    which = f"the marked patch, at pixel {y},{x} (row {row}, column {column} of {rows} x {columns} patches)"
    if sight.attention is None:
        plain = marked(greyed(sight.image, sight.grid), _one(sight), sight.grid)
        panels = [Panel(plain, f"{sight.method}: no attention: each patch keeps its own value, as does {which}.")]
    else:
        when = "" if sight.corrected is None else ", before the correction"
        panels = [heat_panel(sight, sight.attention, f"{sight.method}: the attention of {which}{when}.")]
    if sight.corrected is not None:
        panels.append(heat_panel(sight, sight.corrected, "The same patch's attention, corrected by the prediction (FSA)."))
    return sheet(panels)


def heat_panel(sight: Sight, shares: np.ndarray, caption: str) -> Panel:
    """Shares (h, w) as colours over the picture; the scale ends at the largest share of another patch."""
    from PIL import Image

    own = _one(sight)
    brightest = float(shares[~own].max()) if shares.size > 1 else 0.0
    picture = greyed(sight.image, sight.grid)
    heat = spread(heat_colours(np.clip(shares / (brightest or 1.0), 0, 1)), picture.size)
    picture = marked(Image.blend(picture, Image.fromarray(heat), HEAT_SHARE), own, sight.grid)
    return Panel(picture, f"{caption} To itself: {percentage(float(shares[own][0]))}.", brightest)


def outlier_sheet(sight: Sight) -> "Image.Image":
    """The picture with the outliers outlined."""
    n, of = int(sight.outliers.sum()), sight.outliers.size
    picture = marked(enlarged(sight.image, sight.outliers.shape), sight.outliers, sight.outliers.shape)
    return sheet([Panel(picture, f"{sight.method}: {n} outlier{'' if n == 1 else 's'} among {of} patches, outlined.")])


def repair_sheet(sight: Sight) -> "Image.Image":
    """The patches' features before and after the repair, as colours."""
    from PIL import Image

    grid, size = sight.outliers.shape, enlarged(sight.image, sight.outliers.shape).size
    captions = (
        f"{sight.method}: the patches' features before the repair, outliers outlined. Similar features, similar colours: "
        "three principal components as red, green and blue.",
        "After the repair: each outlier is the mean of its neighbours that are not outliers.",
    )
    pictures = [Image.fromarray(spread(np.rint(255 * colours).astype(np.uint8), size)) for colours in sight.repair]
    return sheet([Panel(marked(p, sight.outliers, grid), text) for p, text in zip(pictures, captions, strict=True)])


def feedback_sheet(sight: Sight) -> "Image.Image":
    """The labels without and with the feedback, and what changed, with a legend of both."""
    before, after = sight.feedback
    colours = class_colours(len(after.classes))
    factor = enlargement(*sight.image.shape[:2])
    changed = before.labels != after.labels
    grey = np.asarray(greyed(sight.image, (1, 1), factor=1))
    news = np.where(changed[..., None], colours[after.labels], grey // 2 + 127)
    pictures = [coloured(sight.image, result.labels, colours, 0.5, factor) for result in sight.feedback]
    pictures.append(enlarged(news.astype(np.uint8), (1, 1), factor))
    captions = (
        f"{sight.method}: the labels before the feedback.",
        "The labels after the feedback; the legend's shares are of these.",
        f"{percentage(float(changed.mean()))} of the pixels changed: their new labels.",
    )
    old, new = before.shares(), after.shares()
    present = [(i, name, new[name]) for i, name in enumerate(after.classes) if old[name] or new[name]]
    page = sheet([Panel(*pair) for pair in zip(pictures, captions, strict=True)])
    return with_legend(page, sorted(present, key=lambda entry: -entry[2]), colours)


def _one(sight: Sight) -> np.ndarray:
    mask = np.zeros(sight.grid, dtype=bool)
    mask[sight.patch] = True
    return mask


def enlarged(image: np.ndarray, grid: tuple[int, int], factor: int | None = None) -> "Image.Image":
    """The picture (H, W, 3) by a whole factor: unless given, one at which a patch of the grid is at least 8 pixels."""
    from PIL import Image

    if factor is None:
        patch = min(side / n for side, n in zip(image.shape[:2], grid, strict=True))
        factor = max(enlargement(*image.shape[:2]), int(np.ceil(SMALLEST_PATCH / patch)))
    return Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))


def greyed(image: np.ndarray, grid: tuple[int, int], factor: int | None = None) -> "Image.Image":
    """The same without its colours."""
    return enlarged(image, grid, factor).convert("L").convert("RGB")


def edges(n: int, length: int) -> np.ndarray:
    """Where n patches begin along `length` pixels, and where the last ends: n + 1 whole numbers."""
    return np.rint(np.arange(n + 1) * length / n).astype(int)


def spread(colours: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A colour a patch (h, w, 3) -> a picture of `size` (width, height)."""
    rows, columns = (np.diff(edges(n, length)) for n, length in zip(colours.shape[:2], size[::-1], strict=True))
    return colours.repeat(rows, axis=0).repeat(columns, axis=1)


def marked(picture: "Image.Image", patches: np.ndarray, grid: tuple[int, int]) -> "Image.Image":
    """A copy with the patches (h, w) outlined, in white with a black line inside, to stand out on any ground."""
    from PIL import ImageDraw

    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    rows, columns = edges(grid[0], picture.height), edges(grid[1], picture.width)
    patch = min(np.diff(rows).min(), np.diff(columns).min())
    thickness = int(max(1, min(round(max(picture.size) / 400), patch // 8)))
    for row, column in np.argwhere(patches):
        box = [int(x) for x in (columns[column], rows[row], columns[column + 1] - 1, rows[row + 1] - 1)]
        draw.rectangle(box, outline=RIM, width=2 * thickness)
        draw.rectangle(box, outline=MARK, width=thickness)
    return picture


def sheet(panels: list[Panel]) -> "Image.Image":
    """Panels of one size with their captions under them, side by side, or one above the other when they are wide."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = panels[0].picture.size
    font = ImageFont.load_default(max(14, round(min(width, height) / 32)))
    line, gap, room = round(1.4 * font.size), round(font.size), max(width, NARROWEST)
    captions = [wrapped(panel.caption, font, room) for panel in panels]
    bar = 3 * line // 2 if any(panel.brightest is not None for panel in panels) else 0
    tall = height + gap + bar + line * max(len(lines) for lines in captions)
    down, right = (tall + gap, 0) if width > 2 * height else (0, room + gap)
    more = len(panels) - 1
    page = Image.new("RGB", (room + more * right + 2 * gap, tall + more * down + 2 * gap), "white")
    draw = ImageDraw.Draw(page)
    for i, (panel, lines) in enumerate(zip(panels, captions, strict=True)):
        x, y = gap + i * right, gap + i * down
        page.paste(panel.picture, (x, y))
        y += height + gap // 2
        if panel.brightest is not None:
            draw_scale(draw, x, y, room, font, panel.brightest)
        for j, text in enumerate(lines):
            draw.text((x, y + bar + j * line), text, fill="black", font=font)
    return page


def draw_scale(
    draw: "ImageDraw.ImageDraw", x: int, y: int, room: int, font: "ImageFont.FreeTypeFont", brightest: float
) -> None:
    """The scale of a heat map, from 0 to the share of its brightest colour, in a line at (x, y) of `room` pixels."""
    texts = ("0 ", f" {percentage(brightest)} of its attention")
    left, right = (round(font.getlength(text)) for text in texts)
    n, size = room - left - right, round(font.size)
    draw.text((x, y), texts[0], fill="black", font=font)
    for i, colour in enumerate(heat_colours(np.linspace(0, 1, n)).tolist()):
        draw.line((x + left + i, y, x + left + i, y + size), fill=tuple(colour))
    draw.text((x + left + n, y), texts[1], fill="black", font=font)


def wrapped(text: str, font: "ImageFont.FreeTypeFont", room: int) -> list[str]:
    """The text in lines of at most `room` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines

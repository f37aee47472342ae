"""The words of the procedural scenes: colours, shapes, backgrounds, and the pairs that training never shows."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.10, 0.20, 0.85),
    "yellow": (0.95, 0.88, 0.10),
    "purple": (0.55, 0.12, 0.65),
    "orange": (0.97, 0.52, 0.05),
    "white": (0.96, 0.96, 0.96),
    "black": (0.06, 0.06, 0.06),
}
"""Colour word to its mean RGB in 0..1."""

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "moon")
BACKGROUNDS = ("grass", "sky", "sand", "water", "brick", "wood")

PAIRS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""All 64 colour-shape phrases, in order of colour, then shape."""

HELD_OUT = tuple(f"{colour} {SHAPES[(i + 2) % len(SHAPES)]}" for i, colour in enumerate(COLOURS))
"""One pair per colour and per shape that no training picture and no training caption contains."""

SEEN = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

"""Sampling scenes: where objects lie, what a caption says, and the benchmark sets.

Every random stream starts from `(purpose, seed, ...)`, and training and benchmark have different purposes,
so that no seed of one can repeat a scene of the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.scenes.drawing import Item, Layout, draw
from core.scenes.vocabulary import BACKGROUNDS, COLOURS, HELD_OUT, PAIRS, SEEN

TRAINING, BENCHMARK, SINGLE, DISPLAY = range(4)
"""Purposes: the first number of a random stream's seed."""

PLACEMENT_TRIES = 30
UNNAMED_DISTANCE = 0.35
"""How far in RGB (0..1) a colour without a name lies at least from every named one."""


@dataclass(frozen=True)
class Scene:
    """A picture with its truth.

    image: (H, W, 3) uint8. labels: (H, W) int64, indices into `classes`. classes: phrases; the objects come first,
    then the background, then distractors that the picture does not show. n_objects: how many are objects.
    caption: one sentence that names all objects and the background.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    n_objects: int
    caption: str


def scene_rng(purpose: int, seed: int, *more: int) -> np.random.Generator:
    """The random stream of a purpose (TRAINING, BENCHMARK, ...), a seed, and further counters."""
    return np.random.default_rng([purpose, seed, *more])


def _unnamed_colour(rng: np.random.Generator) -> np.ndarray:
    """An RGB colour far from all that have a name, such as pink, grey or turquoise."""
    while True:
        colour = rng.uniform(0.05, 0.95, 3)
        if min(np.linalg.norm(colour - named) for named in COLOURS.values()) > UNNAMED_DISTANCE:
            return colour


def _item(rng: np.random.Generator, pair: str, x: float, y: float, radius: float) -> Item:
    turn, slant = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.14)
    named = " " in pair
    return Item(
        pair=pair,
        x=x,
        y=y,
        radius=radius,
        angle=rng.uniform(-0.45, 0.45),
        stretch=float(np.exp(rng.uniform(-0.13, 0.13))),
        tint=tuple(rng.normal(rng.uniform(-0.06, 0.06), 0.05, 3) if named else _unnamed_colour(rng)),
        gradient=(slant * np.cos(turn), slant * np.sin(turn)),
        rim=rng.uniform(0.1, 0.4) * (rng.random() < 0.3),
    )


def sample_layout(
    rng: np.random.Generator,
    pairs: Sequence[str],
    n_objects: int,
    radius: tuple[float, float],
    size: tuple[int, int] = (128, 128),
) -> Layout:
    """Place up to `n_objects` distinct `pairs` with radii drawn from `radius` (over the short side).

    A shape without a colour among the pairs ("circle") is drawn in a colour that has no name.
    Objects may reach over the border by a quarter of their radius and hardly touch each other;
    one for which no place is found is left out (never the first).
    """
    height, width = (side / min(size) for side in size)
    items: list[Item] = []
    for pair in list(dict.fromkeys(rng.permutation(pairs).tolist()))[:n_objects]:
        for _ in range(PLACEMENT_TRIES):
            r = rng.uniform(*radius)
            x, y = (side / 2 + rng.uniform(-1, 1) * max(0.0, side / 2 - 0.75 * r) for side in (width, height))
            if all(np.hypot(x - other.x, y - other.y) > 0.92 * (r + other.radius) for other in items):
                items.append(_item(rng, pair, x, y, r))
                break
    scale = float(np.exp(rng.uniform(-0.6, 0.6)))
    return Layout(tuple(items), str(rng.choice(BACKGROUNDS)), scale, int(rng.integers(2**32)))


def _scene(layout: Layout, size: tuple[int, int], distractors: tuple[str, ...]) -> Scene:
    image, labels = draw(layout, *size)
    objects = tuple(item.pair for item in layout.items)
    caption = " and ".join(f"a {pair}" for pair in objects) + f" on {layout.background}"
    return Scene(image, labels, (*objects, layout.background, *distractors), len(objects), caption)


def _distractors(rng: np.random.Generator, layout: Layout) -> tuple[str, ...]:
    """Three pairs and one background that the layout does not show."""
    shown = {item.pair for item in layout.items}
    pairs = rng.permutation([pair for pair in PAIRS if pair not in shown])[:3]
    return (*map(str, pairs), str(rng.choice([name for name in BACKGROUNDS if name != layout.background])))


def benchmark_scenes(
    seed: int, n: int, pairs: str = "seen", size: tuple[int, int] = (128, 128), purpose: int = BENCHMARK
) -> Iterator[Scene]:
    """`n` scenes of 1 to 4 objects, all of them `pairs` "seen" in training or "held_out" from it.

    The classes to choose from are the objects, the background, three pairs and one background that are not there.
    Raises InputError for another word than "seen" or "held_out".
    """
    names = {"seen": SEEN, "held_out": HELD_OUT}
    if pairs not in names:
        raise InputError(f"pairs must be 'seen' or 'held_out', not {pairs!r}")
    for index in range(n):
        rng = scene_rng(purpose, seed, index, len(names[pairs]))
        n_objects = int(rng.choice(4, p=(0.2, 0.3, 0.3, 0.2))) + 1
        radius = (0.17, 0.4) if n_objects == 1 else (0.15, 0.26)
        layout = sample_layout(rng, names[pairs], n_objects, radius, size)
        yield _scene(layout, size, _distractors(rng, layout))


def single_object_scenes(seed: int, n: int, size: tuple[int, int] = (128, 128)) -> Iterator[Scene]:
    """`n` scenes of one object, going through all 64 pairs in turn, for zero-shot classification."""
    for index in range(n):
        rng = scene_rng(SINGLE, seed, index)
        yield _scene(sample_layout(rng, [PAIRS[index % len(PAIRS)]], 1, (0.17, 0.4), size), size, ())

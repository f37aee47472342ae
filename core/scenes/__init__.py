"""Procedural scenes with per-pixel truth: coloured shapes on textured backgrounds, drawn with NumPy alone."""

from core.scenes.drawing import Item, Layout, draw
from core.scenes.sampling import (
    BENCHMARK,
    DISPLAY,
    TRAINING,
    Scene,
    benchmark_scenes,
    sample_layout,
    scene_rng,
    single_object_scenes,
)
from core.scenes.vocabulary import BACKGROUNDS, COLOURS, HELD_OUT, PAIRS, SEEN, SHAPES

__all__ = [
    "BACKGROUNDS",
    "BENCHMARK",
    "COLOURS",
    "DISPLAY",
    "HELD_OUT",
    "PAIRS",
    "SEEN",
    "SHAPES",
    "TRAINING",
    "Item",
    "Layout",
    "Scene",
    "benchmark_scenes",
    "draw",
    "sample_layout",
    "scene_rng",
    "single_object_scenes",
]

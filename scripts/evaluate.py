"""Measure the embedded model on procedural scenes that training never saw.

python scripts/evaluate.py --dataset scenes [--limit 500] [--seed 1000] [--backend jittor|torch|numpy] [--json FILE]
prints the object IoU of each method on seen and on held-out pairs, and the accuracy on single objects. Object IoU: the
mean IoU over the objects present in a picture, then the mean over pictures.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import Segmenter
from core.backends import PACKAGES
from core.errors import InputError
from core.files import atomic_path, make_folder
from core.preprocess import to_pixels
from core.scenes import HELD_OUT, PAIRS, Scene, benchmark_scenes, single_object_scenes
from core.scenes.scoring import object_iou

SIZE = (128, 128)
ROWS: dict[str, dict[str, Any]] = {
    "vanilla": {"method": "vanilla"},
    "maskclip": {"method": "maskclip"},
    "sclip": {"method": "sclip"},
    "clearclip": {"method": "clearclip"},
    "naclip": {"method": "naclip", "pamr": False},
    "naclip + PAMR": {"method": "naclip", "pamr": True},
    "scclip": {"method": "scclip"},
    "sfp": {"method": "sfp"},
    "proxyclip, self": {"method": "proxyclip", "external": "self"},
    "fsa, self": {"method": "fsa", "external": "self"},
    "clearclip+neighbourhood": {"method": "clearclip+neighbourhood"},
    "naclip+fsa": {"method": "naclip+fsa", "pamr": False},
    "maskclip+fsa": {"method": "maskclip+fsa"},
}
"""What is printed in each row: the Segmenter's settings."""


def mean_object_iou(segmenter: Segmenter, scenes: Iterable[Scene]) -> float:
    """Object IoU per scene, averaged over scenes."""
    return float(np.mean([object_iou(segmenter(s.image, s.classes).labels, s.labels, s.n_objects) for s in scenes]))


def single_object_accuracy(backbone: Any, scenes: Iterable[Scene]) -> dict[str, float]:
    """Share of single objects whose pair is the nearest of all 64 to the picture's class token, seen and held out."""
    import torch

    text = backbone.text_embeddings(list(PAIRS))
    size = (backbone.image_size, backbone.image_size)
    right: dict[str, list[bool]] = {"seen": [], "held_out": []}
    for scene in scenes:
        pixels = torch.from_numpy(to_pixels(scene.image, size, backbone.loaded.mean, backbone.loaded.std))
        with torch.no_grad():
            image = backbone.model.encode_image(pixels.to(backbone.device))[0].float().cpu().numpy()
        guess = PAIRS[int(np.argmax(text @ image))]
        right["held_out" if scene.classes[0] in HELD_OUT else "seen"].append(guess == scene.classes[0])
    return {kind: float(np.mean(answers)) for kind, answers in right.items()}


def evaluate_scenes(backend: str, seed: int, limit: int, **settings: Any) -> dict[str, dict[str, float]]:
    """Object IoU by row and accuracy, each on seen and on held-out pairs.

    The IoU is over `limit` scenes of each, the accuracy over `limit` single objects of held-out pairs and over
    7 times as many of seen ones.
    """
    backbone, figures = None, {}
    for row, row_settings in ROWS.items():
        segmenter = Segmenter(backend=backend, model=backbone or "embedded", **row_settings, **settings)
        backbone = segmenter.backbone
        figures[row] = {
            pairs: mean_object_iou(segmenter, benchmark_scenes(seed, limit, pairs, SIZE)) for pairs in ("seen", "held_out")
        }
        print_row(row, figures[row])
    figures["accuracy"] = single_object_accuracy(
        backbone, single_object_scenes(seed, len(PAIRS) // len(HELD_OUT) * limit, SIZE)
    )
    print_row("single objects, accuracy", figures["accuracy"])
    return figures


def print_row(name: str, figures: dict[str, float]) -> None:
    """One line of the table, in percent."""
    print(f"{name:26s}{100 * figures['seen']:8.1f}{100 * figures['held_out']:10.1f}", flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the embedded model on procedural scenes.")
    parser.add_argument("--dataset", choices=("scenes",), default="scenes")
    parser.add_argument("--limit", type=int, default=500, help="scenes of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1000, help="of the scenes (default: %(default)s)")
    parser.add_argument("--backend", choices=PACKAGES, default="jittor", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    try:
        if args.limit < 1 or args.seed < 0:
            raise InputError("--limit must be at least 1 and --seed at least 0")
        if args.json:
            make_folder(args.json.parent)
        print(f"object IoU in %, {args.limit} scenes each, seed {args.seed}, {args.backend}\n{'':26s}    seen  held out")
        figures = evaluate_scenes(args.backend, args.seed, args.limit)
        if args.json:
            record = {"dataset": args.dataset, "seed": args.seed, "limit": args.limit, "backend": args.backend}
            with atomic_path(args.json) as temporary:
                temporary.write_text(json.dumps({**record, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The main job: segment the bundled pictures by words, on Jittor, and compare them with the truth.

python scripts/demo.py [--backend jittor|torch|numpy] [--out DIR]
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import Segmentation, Segmenter
from core.backends import PACKAGES
from core.commands.options import OneLineParser, a_file, exit_code
from core.evaluation.metrics import class_iou, object_iou
from core.files.writing import make_folder
from core.results.overlay import percentage

PICTURES = Path(__file__).with_name("pictures")


def main() -> int:
    """Command line."""
    parser = OneLineParser(description="Segment the bundled pictures by words and compare with the truth.")
    parser.add_argument("--backend", choices=PACKAGES, default="jittor", help="default: %(default)s")
    parser.add_argument("--out", type=a_file, default=Path("out/demo"), help="folder for the results (default: %(default)s)")
    args = parser.parse_args()
    return exit_code(lambda: run(args.backend, args.out) or 0)


def run(backend: str, folder: Path) -> None:
    """Segments every bundled picture, prints what came out and how right it is, and saves it to `folder`."""
    make_folder(folder)
    segmenter = Segmenter(method="naclip", backend=backend, pamr=True)
    print(f"embedded model, naclip + PAMR, {backend} backend\n")
    figures = []
    for name, scene in json.loads((PICTURES / "scenes.json").read_text(encoding="utf-8")).items():
        result = segmenter(PICTURES / f"{name}.png", scene["classes"])
        truth = read_truth(PICTURES / f"{name}_truth.png")
        files = result.save(folder, name, configuration=segmenter.configuration())
        figures.append(object_iou(result.labels, truth, len(scene["objects"])))
        print_result(name, scene, result, truth)
        print(f"  files: {', '.join(str(path) for path in files)}\n")
    print(f"mean IoU of the objects over {len(figures)} pictures: {np.mean(figures):.2f}")
    print(f"look at the pictures: {folder}/*_overlay.png")


def print_result(name: str, scene: dict[str, list[str]], result: Segmentation, truth: np.ndarray) -> None:
    """A picture's classes with their share of the pixels, and the IoU of those that the truth or the result shows."""
    print(f"{name}.png")
    for index, (phrase, share) in enumerate(result.shares().items()):
        shown = bool((truth == index).any())
        iou = f"IoU {class_iou(result.labels, truth, index):.2f}" if shown else "not in the picture"
        novel = ", a pair that training never showed" if phrase in scene["held_out"] else ""
        print(f"  {phrase:<18}{percentage(share):>8}  {iou}{novel}")


def read_truth(path: Path) -> np.ndarray:
    """(H, W) class indices of a palette PNG."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


if __name__ == "__main__":
    sys.exit(main())

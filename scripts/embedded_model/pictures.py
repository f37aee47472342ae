"""Draw the bundled pictures: six procedural scenes with their truth.

python scripts/embedded_model/pictures.py [--out scripts/pictures] writes NAME.png, NAME_truth.png (palette index = class) and
scenes.json (for each: its classes in label order, which are objects, which of these training never showed).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.commands.options import OneLineParser, a_file, exit_code
from core.files.writing import atomic_path, make_folder, write_json
from core.results.colours import class_colours
from core.scenes import DISPLAY, HELD_OUT, Scene, benchmark_scenes

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
SEED = 22
SIZES = ((256, 256), (240, 320), (256, 192))
"""Heights and widths in pixels."""


def display_scenes(seed: int) -> dict[str, Scene]:
    """Six scenes by name, three of seen pairs and three of held-out ones; none is in a training or benchmark set."""
    scenes = {}
    for pairs in ("seen", "held_out"):
        for i, size in enumerate(SIZES):
            *_, scene = benchmark_scenes(seed, i + 1, pairs, size, purpose=DISPLAY)
            scenes[f"{pairs}_{i + 1}"] = scene
    return scenes


def save_scene(folder: Path, name: str, scene: Scene) -> dict[str, list[str]]:
    """Write a scene's picture and truth; returns its entry of scenes.json."""
    from PIL import Image

    truth = Image.fromarray(scene.labels.astype("uint8"))
    truth.putpalette(class_colours(len(scene.classes)).tobytes())
    for path, image in ((f"{name}.png", Image.fromarray(scene.image)), (f"{name}_truth.png", truth)):
        with atomic_path(folder / path) as temporary:
            image.save(temporary, optimize=True)
    objects = list(scene.classes[: scene.n_objects])
    return {"classes": list(scene.classes), "objects": objects, "held_out": [o for o in objects if o in HELD_OUT]}


def draw_all(folder: Path, seed: int) -> None:
    """Write all pictures, their truth and scenes.json. Raises InputError for a folder that cannot be."""
    make_folder(folder)
    write_json(folder / "scenes.json", {name: save_scene(folder, name, scene) for name, scene in display_scenes(seed).items()})


def main() -> int:
    """Command line."""
    parser = OneLineParser(description="Draw the bundled pictures and their truth.")
    parser.add_argument("--out", type=a_file, default=PICTURES, help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    return exit_code(lambda: draw_all(args.out, args.seed) or 0)


if __name__ == "__main__":
    sys.exit(main())

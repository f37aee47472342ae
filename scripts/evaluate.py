"""Measure methods on the field's data sets, and on the procedural scenes of the embedded model.

python scripts/evaluate.py --dataset voc21 --root VOCdevkit --method naclip --model ViT-B-16 --pretrained openai
python scripts/evaluate.py --dataset scenes
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())

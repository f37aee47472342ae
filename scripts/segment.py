"""Segment pictures by words: `python scripts/segment.py PICTURE... --classes cat "sofa,couch" wall`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.commands.segment import main

if __name__ == "__main__":
    sys.exit(main())

"""Compare the backends on the same inputs: `python scripts/parity.py`, `parity.py dump`, `parity.py compare A.npz B.npz`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.commands.parity import main

if __name__ == "__main__":
    sys.exit(main())

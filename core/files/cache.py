"""Where things computed once are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for cached results: $JITTOR_OVSEG_CACHE, or jittor-ovseg in the user's cache folder."""
    chosen = os.environ.get("JITTOR_OVSEG_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jittor-ovseg"

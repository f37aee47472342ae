"""Where things computed once are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """The folder for cached results: $JITTOR_OVSEG_CACHE, or jittor-ovseg in the user's cache folder.

    None where the user has no home, as in a container that runs under a number that no user has.
    """
    chosen = os.environ.get("JITTOR_OVSEG_CACHE")
    if chosen:
        return Path(chosen)
    users = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(users or Path.home() / ".cache") / "jittor-ovseg"
    except RuntimeError:  # neither HOME is set nor the user known
        return None

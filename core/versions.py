"""Which versions a result was computed with."""

import platform
from collections.abc import Sequence
from importlib import metadata

PACKAGES = ("jittor-ovseg", "numpy", "torch", "open_clip_torch", "jittor")


def installed_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python's version, and those of the packages that are installed."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions

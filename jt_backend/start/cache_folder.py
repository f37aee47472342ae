"""Jittor's cache folder: where it is by Jittor's own rule, whether it is writable, whether Jittor is compiled there."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import tempfile
from pathlib import Path

from core.errors import InputError

KEY_LENGTH = 14


def jittor_cache() -> Path:
    """The folder `.cache/jittor` that Jittor uses: under $JITTOR_HOME, under the home noted in its config.json, or ~.

    Raises InputError when its config.json cannot be read, or there is no home.
    """
    default = _home() / ".cache" / "jittor"
    noted = {}
    config = default / "config.json"
    if config.exists():
        try:
            noted = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"Jittor's settings file {config} cannot be read as JSON: delete it") from None
    home = os.environ.get("JITTOR_HOME", noted.get("JITTOR_HOME", _home()))
    return Path(os.path.abspath(home)) / ".cache" / "jittor"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME is set nor the user known, as in a container
        raise InputError("Jittor needs a home folder, and this user has none: set HOME to a writable folder") from None


def check_writable(cache: Path) -> None:
    """Makes the cache folder, and the one in ~ where Jittor notes its settings, and tries to write there.

    Raises InputError when one cannot be written to.
    """
    for folder, variable in ((_home() / ".cache" / "jittor", "HOME"), (cache, "JITTOR_HOME")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"Jittor cannot write to its cache folder {folder} ({error.strerror}): set {variable} to a writable folder"
            ) from None


def is_compiled(cache: Path, name: str, for_gpu: bool) -> bool:
    """Whether Jittor's core stands compiled for this Jittor, Python, operating system and installation.

    `name` is Jittor's `cache_name`. Compiler and processor are not looked at: this decides about a message, Jittor
    decides for itself about compiling.
    """
    version = importlib.metadata.version("jittor").rsplit(".", 1)[0]
    installation = _md5(importlib.util.find_spec("jittor_utils").origin)[:4]
    pattern = f"jt{version}/*/py{platform.python_version()}/{_system_key()}/*/{installation}/{name}/"
    return any(cache.glob(pattern + ("cu*/" if for_gpu else "") + "jittor_core*.so"))


def _system_key() -> str:
    """The operating system and host as Jittor writes them in a folder's name: shortened twice, once with all characters."""
    allowed = [c for c in _shortened(platform.platform() + platform.node()) if c.isidentifier() or c.isnumeric() or c in ".-+"]
    return _shortened("".join(allowed))


def _shortened(text: str) -> str:
    return text if len(text) <= KEY_LENGTH else f"{text[:KEY_LENGTH]}x{_md5(text)[:2]}"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

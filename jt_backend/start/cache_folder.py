"""Jittor's cache folder: where it is by Jittor's own rule, whether it is writable, whether Jittor is compiled there."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError

KEY_LENGTH = 14


def jittor_cache() -> Path:
    """The folder `.cache/jittor` that Jittor uses: under $JITTOR_HOME, under the home noted in its config.json, or ~.

    Raises InputError when its config.json cannot be read, or there is no home.
    """
    home = os.environ.get("JITTOR_HOME") or noted_home() or _home()
    return Path(os.path.abspath(home)) / ".cache" / "jittor"


def noted_home() -> str | None:
    """The home that Jittor has noted in ~ for all later runs, as it does without this project; None without such a note.

    Raises InputError when its config.json cannot be read, or there is no home.
    """
    config = _config()
    try:
        home = json.loads(config.read_text(encoding="utf-8")).get("JITTOR_HOME") if config.exists() else None
    except (OSError, ValueError, AttributeError):
        raise InputError(f"Jittor's settings file {config} cannot be read as JSON: delete it") from None
    if not isinstance(home, str | None):
        raise InputError(f"Jittor's settings file {config} names no folder: delete it")
    return home if home and os.path.abspath(home) != os.path.abspath(_home()) else None


def why_there(cache: Path) -> str | None:
    """One line that says which folder is used and why, where neither ~ nor this run's $JITTOR_HOME decides it."""
    if os.environ.get("JITTOR_HOME") or noted_home() is None:
        return None
    return f"Jittor's cache folder is {cache}, as an earlier run of Jittor noted in {_config()}; delete that file to use ~"


@contextmanager
def noted_for_this_run(cache: Path) -> Iterator[dict[str, str]]:
    """The variables for Jittor's import with which $JITTOR_HOME counts for this run alone.

    Jittor notes it in `.cache/jittor/config.json` of the home, from where it would decide all later runs; so the import has
    another home, which is deleted afterwards.
    """
    chosen = os.environ.get("JITTOR_HOME")
    if not chosen:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix=".home-", dir=cache) as home:
        yield {"JITTOR_HOME": os.path.abspath(chosen), "HOME": home}


def _config() -> Path:
    return _home() / ".cache" / "jittor" / "config.json"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME is set nor the user known, as in a container
        raise InputError("Jittor needs a home folder, and this user has none: set HOME to a writable folder") from None


def check_writable(cache: Path) -> None:
    """Makes the cache folder, and without $JITTOR_HOME the one in ~ where Jittor looks for its note, and tries to write there.

    Raises InputError when one cannot be written to.
    """
    folders = [(cache, "JITTOR_HOME")]
    if not os.environ.get("JITTOR_HOME"):
        folders.insert(0, (_home() / ".cache" / "jittor", "HOME"))
    for folder, variable in folders:
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

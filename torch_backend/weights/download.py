"""Fetching weights, of an open_clip tag or another model: from the hub's cache, or over the network."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants
from open_clip.pretrained import download_pretrained

from core.errors import InputError

PATIENCE = 5.0  # seconds for a first connection


def fetch_weights(name: str, tag: str, tag_config: dict[str, Any]) -> Path:
    """The local file of a tag's weights, downloaded when it is not in the cache.

    Raises InputError when it is neither in the cache nor can be downloaded.
    """
    return from_hub(f"{name} {tag}", lambda: Path(download_pretrained(tag_config)), "give --pretrained a local file")


def from_hub(what: str, download: Callable[[], Path], advice: str) -> Path:
    """The file that `download` gives by the hub's client, which is kept to its cache when there is no network.

    advice: what to do where `what` cannot be had. Raises InputError when it is neither in the cache nor can be downloaded.
    """
    reachable = hub_reachable()
    try:
        with _offline_unless(reachable):
            return download()
    except Exception as error:  # the hub's client raises many kinds for one cause: the weights cannot be had
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        cause = f"({reason})" if reachable else "(there is no network, and they are not in the cache)"
        raise InputError(f"cannot download {what}: check the network, or {advice} {cause}") from None


def hub_reachable() -> bool:
    """Whether the hub answers a connection; a proxy, where one is set, is trusted to.

    Its client retries for a minute before it gives up, without a word.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies().get("https"):
        return True
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@contextmanager
def _offline_unless(reachable: bool) -> Iterator[None]:
    """Keeps the hub's client to its cache when there is no network."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before

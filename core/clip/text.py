"""Phrases into CLIP's shared space, encoded once and kept on disk."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from core.files.cache import cache_folder
from core.files.writing import atomic_path


class PhraseEmbeddings:
    """The embeddings of phrases by a text tower.

    encode: a phrase in all templates -> (E,) float32 of unit length, the mean over the templates of the normalised
    embeddings, normalised again (Radford et al., CLIP, 2021, section 3.1.4). identity: what decides it beside the phrase (the
    weights, the activation, the templates), by which it is kept.
    """

    def __init__(self, encode: Callable[[list[str]], np.ndarray], templates: Sequence[str], identity: Sequence[str]) -> None:
        self._encode, self._templates = encode, list(templates)
        self._identity = [*identity, self._templates]
        self._folder = cache_folder() / "text"
        self._caching = True
        self.n_encoded = 0

    def embed(self, phrases: list[str]) -> np.ndarray:
        """(Q, E) float32 of unit length. Raises InputError for a word that the tokenizer does not know."""
        rows = []
        for phrase in phrases:
            path = self._folder / f"{self._key(phrase)}.npy"
            row = _read(path)
            if row is None:
                self.n_encoded += 1
                row = self._encode([template.format(phrase) for template in self._templates])
                self._keep(path, row)
            rows.append(row)
        return np.stack(rows)

    def _keep(self, path: Path, row: np.ndarray) -> None:
        """Writes an embedding to the cache; that it cannot is said once."""
        if not self._caching:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                np.save(temporary, row, allow_pickle=False)
        except OSError as error:
            self._caching = False
            reason = f"{self._folder} cannot be written ({error.strerror})"
            print(f"note: text embeddings are not cached: {reason}", file=sys.stderr)

    def _key(self, phrase: str) -> str:
        return hashlib.sha256(json.dumps([*self._identity, phrase]).encode()).hexdigest()


def _read(path: Path) -> np.ndarray | None:
    """A cached embedding, or None where there is none that can be used."""
    try:
        row = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = row.ndim == 1 and row.dtype == np.float32 and abs(float(np.linalg.norm(row)) - 1) < 1e-3
    return row if sound else None

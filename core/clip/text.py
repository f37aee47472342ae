"""Phrases into CLIP's shared space, encoded once and kept on disk."""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from core.files.cache import cache_folder
from core.files.store import Store

KEPT = np.dtype("<f4")


class PhraseEmbeddings:
    """The embeddings of phrases by a text tower.

    encode: a phrase in all templates -> (E,) float32 of unit length, the mean over the templates of the normalised
    embeddings, normalised again (Radford et al., CLIP, 2021, section 3.1.4). identity: what decides it beside the phrase (the
    weights, the activation, the templates), by which it is kept.
    """

    def __init__(self, encode: Callable[[list[str]], np.ndarray], templates: Sequence[str], identity: Sequence[str]) -> None:
        self._encode, self._templates = encode, list(templates)
        self._identity = [*identity, self._templates]
        folder = cache_folder()
        self._store = Store(None if folder is None else folder / "text", "text embeddings")
        self.n_encoded = 0

    def embed(self, phrases: list[str]) -> np.ndarray:
        """(Q, E) float32 of unit length. Raises InputError for a word that the tokenizer does not know."""
        rows = []
        for phrase in phrases:
            key = self._key(phrase)
            kept = self._store.read(key)
            if kept is None:
                self.n_encoded += 1
                row = self._encode([template.format(phrase) for template in self._templates])
                self._store.write(key, row.astype(KEPT).tobytes())
            else:
                row = np.frombuffer(kept, KEPT).astype(np.float32)
            rows.append(row)
        return np.stack(rows)

    def _key(self, phrase: str) -> str:
        return hashlib.sha256(json.dumps([*self._identity, phrase]).encode()).hexdigest()

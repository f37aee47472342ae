"""Phrases into CLIP's shared space: every phrase in every template, averaged, and kept on disk."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from core.cache import cache_folder
from core.files import atomic_path
from torch_backend.loading import LoadedClip


class TextEncoder:
    """The text tower with its templates and its cache.

    The embedding of a phrase is the mean over the templates of the normalised embeddings, normalised again (Radford et al.,
    CLIP, 2021, section 3.1.4). It is cached by the weights, the activation, the templates and the phrase.
    """

    def __init__(self, clip: LoadedClip, device: torch.device, weights_sha256: str) -> None:
        self._clip, self._device = clip, device
        self._identity = [weights_sha256, clip.activation, list(clip.templates)]
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
                row = self._encode(phrase)
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

    @torch.no_grad()
    def _encode(self, phrase: str) -> np.ndarray:
        self.n_encoded += 1
        tokens = self._clip.tokenizer([template.format(phrase) for template in self._clip.templates])
        embeddings = self._clip.model.encode_text(tokens.to(self._device), normalize=True).float()
        mean = torch.nn.functional.normalize(embeddings.mean(dim=0), dim=0)
        return mean.cpu().numpy()

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


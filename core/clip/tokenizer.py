"""The embedded model's tokenizer: a small vocabulary of whole words."""

import numpy as np

from core.errors import InputError

START, END, PAD = "<start>", "<end>", "<pad>"


class WordTokenizer:
    """Phrases to token ids, one word a token: start, words, end, padding.

    The end token has the highest id, so that open_clip's argmax pooling finds it.
    """

    def __init__(self, words: list[str], context_length: int) -> None:
        """Take the known words, in the order of their ids, and how many tokens a text becomes."""
        self.words = list(words)
        self.context_length = context_length
        self._index = {word: i for i, word in enumerate([PAD, START, *words, END])}

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        return len(self._index)

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Token ids (n, context_length) int64. Raises InputError for an unknown word or a phrase too long."""
        ids = np.zeros((len(texts), self.context_length), dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            own = self._encode(text)
            row[: len(own)] = own
        return ids

    def _encode(self, text: str) -> list[int]:
        words = text.lower().split()
        unknown = next((word for word in words if word not in self.words), None)
        if unknown is not None:
            known = " ".join(self.words)
            raise InputError(f"the embedded model does not know the word {unknown!r}; it knows: {known}")
        if len(words) + 2 > self.context_length:
            limit = self.context_length - 2
            raise InputError(f"the phrase {text!r} has {len(words)} words; the embedded model takes up to {limit}")
        return [self._index[START], *(self._index[word] for word in words), self._index[END]]

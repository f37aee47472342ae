"""What a method saw on its way, by name; each is computed when it is first asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.primitives.arrays import Array

Steps = dict[str, Callable[[], Array]]
"""A recipe's intermediates, each by how it is had: most are never built unless someone looks at them.

| name                                   | shape              | what                                                       |
|----------------------------------------|--------------------|------------------------------------------------------------|
| attention                              | (B, H or 1, M, M)  | between the M = h w places of the embeddings, H heads      |
| corrected_attention                    | (B, 1, M, M)       | the same, corrected by the prediction (FSA)                |
| before_feedback                        | (B, h, w, E)       | the embeddings that made that prediction                   |
| outliers                               | (B, h', w')        | booleans on CLIP's own grid                                |
| before_repair, after_repair            | (B, h', w', D)     | the patches with their outliers, and with them repaired    |
"""


class Seen(Mapping[str, Array]):
    """`Steps` as a mapping of arrays, computed when first read and then kept."""

    def __init__(self, ops: Any, steps: Steps) -> None:
        self._ops, self._steps, self._computed = ops, steps, {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._computed:
            with self._ops.undisturbed():
                self._computed[name] = self._steps[name]()
        return self._computed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

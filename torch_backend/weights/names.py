"""Finding a model's weights in what a file holds: under any wrappers and prefixes, told by the model's own names.

Trainers wrap a state dict (`{"model": {"state_dict": ...}}`) and modules that wrap others put their names before each weight's
(`module._orig_mod.`). Both are a prefix here, and the right one is that under which the model's names are found.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Path = tuple[str, ...]
MOST_ENTRIES = 1_000_000
MOST_PARTS = 64  # of a dotted name


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: the mappings it lies in, its dotted name there, and itself."""

    wrappers: Path
    name: str
    tensor: torch.Tensor

    @property
    def full(self) -> str:
        """The name with those of the mappings before it."""
        return ".".join((*self.wrappers, self.name))


@dataclass(frozen=True)
class Found:
    """The model's names that lie under one prefix."""

    prefix: Path
    parts: frozenset[str]
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """The prefix for people."""
        return ".".join(self.prefix) or "what is at its top"


def entries_of(tree: Any) -> list[Entry]:
    """All tensors of nested mappings and lists, in their order, each container once. Raises ValueError for a million."""
    found: list[Entry] = []
    waiting: list[tuple[Path, Any]] = [((), tree)]
    seen: set[int] = set()
    while waiting:
        wrappers, node = waiting.pop()
        if id(node) in seen or len(wrappers) > MOST_PARTS:
            continue
        seen.add(id(node))
        inner = []
        for key, value in _items(node):
            if isinstance(value, torch.Tensor):
                found.append(Entry(wrappers, key, value))
            elif isinstance(value, Mapping | list | tuple):
                inner.append(((*wrappers, *key.split(".")), value))
        waiting.extend(reversed(inner))
        if len(found) + len(waiting) > MOST_ENTRIES:
            raise ValueError("it holds more entries than any model")
    return found


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in pairs:
        if isinstance(key, str | int):
            yield str(key), value


def find(entries: list[Entry], names: Collection[str]) -> list[Found]:
    """Where the names are found, the prefix with most of them first.

    Of several alike, a teacher comes before its student and weights before their running average, then the first in the file.
    A wrapper may also stand within a name, as where parts of a model were compiled or sharded.
    """
    known = frozenset(names)
    parts = frozenset(part for name in known for part in name.split("."))
    found: dict[Path, Found] = {}
    for entry in entries:
        for prefix, name in _readings(entry, parts):
            if name in known:
                found.setdefault(prefix, Found(prefix, parts)).entries.setdefault(name, entry)
    return sorted(found.values(), key=lambda each: (-len(each.entries), *_rank(each.prefix)))


def others_beside(found: Found, entries: list[Entry]) -> dict[str, Entry]:
    """What else lies under the prefix in the same mappings; other mappings hold other things, such as an optimizer."""
    mappings = {entry.wrappers for entry in found.entries.values()}
    used = {id(entry) for entry in found.entries.values()}
    depth, others = len(found.prefix), {}
    for entry in entries:
        full = entry.full.split(".")
        if id(entry) not in used and entry.wrappers in mappings and tuple(full[:depth]) == found.prefix:
            others[_without_wrappers(full[depth:], found.parts)] = entry
    return others


def _readings(entry: Entry, parts: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Every way to read a name as a prefix and a name of the model's."""
    full = entry.full.split(".")
    if len(full) > MOST_PARTS:
        return
    for cut, first in enumerate(full):
        if first in parts:
            yield tuple(full[:cut]), _without_wrappers(full[cut:], parts)


def _without_wrappers(name: list[str], parts: Collection[str]) -> str:
    """A dotted name without the parts that torch's wrappers put into it: `_orig_mod`, `_fsdp_wrapped_module`, `module`."""
    return ".".join(part for part in name if part in parts or not (part.startswith("_") or part == "module"))


def _rank(prefix: Path) -> tuple[bool, bool]:
    words = "_".join(prefix).lower().split("_")
    return "student" in words, any(word in ("ema", "averaged", "swa") for word in words)

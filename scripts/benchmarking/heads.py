"""The rows of the heads alone, from features at hand to patch embeddings: FSA over ProxyCLIP, Jittor over PyTorch."""

from collections.abc import Iterator

from benchmarking import cases
from benchmarking.lines import Line, ratio
from benchmarking.measure import in_turns
from benchmarking.primitives import memory_lines
from benchmarking.settings import FAST, Settings, by
from core.backends import load_backend
from core.methods.registry import METHODS

FSA_CLASSES = 171  # COCO-Stuff's
FSA_TARGET, JITTOR_TARGET = 2.0, 1.0


def fsa(settings: Settings) -> Iterator[Line]:
    """FSA's head over ProxyCLIP's."""
    for ops in settings.ops(FAST):
        for classes in dict.fromkeys((FSA_CLASSES, settings.classes)):
            size = fsa_size(settings, classes)
            calls = {m: cases.head(ops, settings.device, m, **size) for m in ("proxyclip", "fsa")}
            timed = in_turns(calls, settings.repeat)
            what = f"FSA over ProxyCLIP on {ops.name}, {by(settings.grid)} places, {classes} classes"
            yield ratio("fsa", what, timed["fsa"], timed["proxyclip"], "at most", FSA_TARGET)
    for classes in dict.fromkeys((FSA_CLASSES, settings.classes)):
        yield fsa_operations(settings, classes)


def fsa_operations(settings: Settings, classes: int) -> Line:
    """How many operations FSA's matrix products take over ProxyCLIP's, as PyTorch counts its own: what no kernel can undo."""
    what = f"FSA over ProxyCLIP, {by(settings.grid)} places, {classes} classes: operations of the matrix products"
    if "torch" not in settings.backends:
        return Line("fsa", what, detail="PyTorch counts them: give it with --backends")
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    for method in ("fsa", "proxyclip"):
        head = cases.head(load_backend("torch"), settings.device, method, **fsa_size(settings, classes))
        with FlopCounterMode(display=False) as counter:
            head()
        counts[method] = counter.get_total_flops()
    detail = " / ".join(f"{count / 1e9:.1f}e9" for count in counts.values())
    return Line("fsa", what, counts["fsa"] / counts["proxyclip"], detail=detail)


def fsa_memory(settings: Settings) -> Iterator[Line]:
    """The extra memory of FSA's head: nothing of size N x N x C."""
    n = settings.grid[0] * settings.grid[1]
    point = {"method": "fsa", **fsa_size(settings, FSA_CLASSES)}
    said = f"of {n} places and {FSA_CLASSES} classes; N x N is {4 * n * n / 1e6:.0f} MB, the bound is N x N x C"
    fast = Settings(**vars(settings) | {"backends": [ops.name for ops in settings.ops(FAST)]})
    yield from memory_lines("fsa-memory", "FSA's head", "head", point, 4 * n * n * FSA_CLASSES, said, fast)


def fsa_size(settings: Settings, classes: int) -> dict[str, object]:
    """A tower that sees half as many places along each side as the external model."""
    rows, columns = (max(side // 2, 1) for side in settings.grid)
    return {"grid": (rows, columns), "classes": classes, "width": settings.width, "external_grid": settings.grid}


def heads(settings: Settings) -> Iterator[Line]:
    """Every method's head on Jittor over the same on PyTorch."""
    backends = {ops.name: ops for ops in settings.ops(FAST)}
    rows, columns = settings.clip_grid
    for method in METHODS:
        what = f"{method}'s head, {rows} x {columns} patches: Jittor over PyTorch"
        if len(backends) < 2:
            yield Line("heads", what, detail="it needs both backends: torch and jittor")
            continue
        places = (2 * rows, 2 * columns)
        size = {"grid": (rows, columns), "classes": settings.classes, "width": settings.width, "external_grid": places}
        calls = {name: cases.head(ops, settings.device, method, **size) for name, ops in backends.items()}
        timed = in_turns(calls, settings.repeat)
        yield ratio("heads", what, timed["jittor"], timed["torch"], "at most", JITTOR_TARGET)

"""Reading weights' files without running anything they hold, and finding which activation they were trained with."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from core.errors import InputError
from torch_backend.weights.torchscript import is_torchscript, read_torchscript

OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # only OpenAI's own files hold these
QUICK_GELU_NAMES = ("openai", "quickgelu", "quick_gelu", "metaclip", "dfn2b", "dfn5b")


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of a .safetensors file, a .pt state dict (weights_only) or OpenAI's TorchScript .pt archive.

    Raises InputError for a file that cannot be read as one of these.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        elif is_torchscript(path):
            tensors = read_torchscript(path)
            state = {name: x for name, x in tensors.items() if not name.endswith("attn_mask")}  # a constant, no weight
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        advice = "give a state dict saved by torch.save, or safetensors"
        raise InputError(f"{path} is no weights file, or holds more than tensors, and is not opened: {advice}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive makes its readers raise many kinds, TypeError and StopIteration among them
        reason = (str(error).splitlines() or ["no reason given"])[0][:200]
        raise InputError(f"cannot read the weights {path}: {reason}") from None
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state) if isinstance(state, dict) else state
    entries = state.items() if isinstance(state, dict) else ()
    tensors = {name: x for name, x in entries if isinstance(name, str) and isinstance(x, torch.Tensor)}
    if not tensors:
        raise InputError(f"{path} holds no state dict: save one with torch.save(model.state_dict(), ...) or as safetensors")
    return {name.removeprefix("module."): x for name, x in tensors.items()}


def find_activation(path: Path, state: Mapping[str, torch.Tensor]) -> tuple[str, str]:
    """("quick_gelu" or "gelu", the reason) for weights whose file alone is at hand.

    open_clip's configurations say GELU for names such as ViT-B-16, and OpenAI's weights need QuickGELU: loaded from a file
    they run, only worse. OpenAI's are told by the entries only its files have, by a configuration beside the file, by the
    file's name, or by matrices whose every value fits half precision, in which OpenAI trained and published them.
    """
    extra = [key for key in OPENAI_KEYS if key in state]
    if extra:
        return "quick_gelu", f"it holds OpenAI's {extra[0]}"
    stated = _stated_beside(path)
    if stated is not None:
        return ("quick_gelu" if stated else "gelu"), "open_clip_config.json beside it says so"
    named = [part for part in QUICK_GELU_NAMES if part in path.name.lower()]
    if named:
        return "quick_gelu", f"its name says {named[0]}"
    if _fits_half_precision(state):
        return "quick_gelu", "its values are of half precision, as OpenAI published them"
    return "gelu", "nothing in it tells of OpenAI's weights"


def _stated_beside(path: Path) -> bool | None:
    try:
        config = json.loads((path.parent / "open_clip_config.json").read_text(encoding="utf-8"))
        return bool(config["model_cfg"].get("quick_gelu", False))
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _fits_half_precision(state: Mapping[str, torch.Tensor]) -> bool:
    matrices = [x for name, x in state.items() if name.endswith(("in_proj_weight", "c_fc.weight"))]
    return bool(matrices) and all(torch.equal(x.float(), x.half().float()) for x in matrices[:4])

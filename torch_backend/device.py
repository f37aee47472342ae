"""Where PyTorch computes."""

import torch

from core.errors import InputError


def choose_device(device: str | None = None) -> torch.device:
    """The device asked for, or the first GPU that PyTorch can use, or the CPU.

    Raises InputError for a device that is not there or has no such name.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise InputError(f"unknown device {device!r}: choose cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but PyTorch can use no GPU here: choose --device cpu")
    return torch.device(device)

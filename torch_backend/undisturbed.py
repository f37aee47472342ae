"""PyTorch as it is when nothing has been switched on: what the caller has left on is set aside, and given back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from core.forked import OneProcess
from core.primitives import ops as contract

DEVICES = ("cpu", "cuda")

_process = OneProcess("PyTorch")


class _Held:
    """A setting of the whole process, at `value` while any thread is within; the last to leave gives back what it was."""

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None], value: Any) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock, self._inside, self._before = threading.Lock(), 0, value

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._read()
                if self._before != self._value:
                    self._write(self._value)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._before != self._value:
                self._write(self._before)


_default_dtype = _Held(torch.get_default_dtype, torch.set_default_dtype, torch.float32)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Sets aside autocast, grad mode, inference mode, the default dtype, the default device and NumPy's error handling.

    The default dtype is one for all threads; the rest is the thread's own. Also a decorator.
    Raises InputError in a process forked from one that has computed with several threads, or on a GPU.
    """
    if torch.get_num_threads() > 1 or torch.cuda.is_initialized():
        _process.check()
    with ExitStack() as stack:
        stack.enter_context(contract.undisturbed())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_default_dtype)
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch._C.DisableTorchFunction())  # else another `torch.device` rounds attention
        yield

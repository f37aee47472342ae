"""Jittor as it is when no flag has been set, and one thread at a time: what the caller has left on is set aside.

Jittor computes late, all that stands unfinished in the whole process at once, and fuses what belongs together into one loop. A
thread that fetches a number cuts through what another thread has begun; what would have been one loop becomes two, which
-Ofast rounds otherwise. Two threads that save and give back a flag leave it set. So one thread computes, and the others wait.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.forked import OneProcess
from core.primitives import ops as contract
from jt_backend.jittor import jt

FLAGS = {
    "auto_mixed_precision_level": 0,  # before amp_reg, which it sets
    "amp_reg": 0,
    "no_grad": True,
    "lazy_execution": 1,
    "no_fuse": False,
    "gopt_disable": 0,
    "node_order": 0,
    "th_mode": 0,
    "auto_convert_64_to_32": 1,
    "try_use_32bit_index": 0,
    "use_tensorcore": 0,
    "para_opt_level": 3,
    "exclude_pass": "",
    "compile_options": {},
}
"""What decides how Jittor computes, at its defaults but for `no_grad`; a flag set in the environment stays as it is there."""

_lock = threading.RLock()
_process = OneProcess("Jittor")
_inside = 0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Sets the caller's flags and NumPy's error handling aside; other threads wait here until this one leaves.

    The outermost computes whatever is still unfinished before it lets others in. Raises InputError in a process forked from one
    that has computed.
    """
    global _inside
    _process.check()  # before the lock, which a fork may have copied while another thread held it
    with _lock, contract.undisturbed(), _flags():
        _inside += 1
        try:
            yield
            if _inside == 1:
                jt.sync_all()
        finally:
            _inside -= 1


@contextmanager
def _flags() -> Iterator[None]:
    before = _changed()
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(jt.flags, name, value)


def _changed() -> dict[str, Any]:
    """Sets the flags that are otherwise, and gives what they were."""
    before = {}
    for name, value in FLAGS.items():
        was = getattr(jt.flags, name)
        if was != value and (name == "no_grad" or name not in os.environ):
            before[name] = was
            setattr(jt.flags, name, value)
    return before

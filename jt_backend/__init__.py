"""Jittor: the primitives of `core` mirrored. Importing this package imports nothing, so `start` can be asked without Jittor.

- `primitives`: the files of `core/primitives` mirrored.
- `kernels`: fused loops for the CPU; `kernels/plain.py` is what they replace and what a GPU takes.
- `start`: Jittor made ready for this machine.
- `undisturbed`: what the caller has left on set aside, and one thread at a time.
- `jittor`: Jittor itself; everything else takes `jt` from there.
"""

"""The primitives of `core.primitives` in PyTorch, file by file; docstrings say only what deviates and why."""

"""The primitives in NumPy: the contract that the other backends mirror, each formula with its shapes and its source.

Every file declares its primitives in `__all__`, and a backend's namespace (`core.backends.load_backend`) is those names. A
primitive whose first parameter is `ops` is written once, over the others, and not mirrored: the namespace binds it.
"""

FILES = ("arrays", "ops", "layers", "attention", "gaussian", "nearest", "outlier_factor", "interpolation", "links", "resize",
         "pamr")  # fmt: skip
"""Those that declare primitives; `chunks` is a helper."""

"""The methods: recipes over any backend's primitives, and their records.

`registry` has a record of each method and runs them; `compose` the parts that can be added. Recipes: `last_block` (vanilla,
maskclip, sclip, clearclip, naclip), `scclip_sfp`, `proxyclip_fsa`. What they are built of: `attention`, `affinity`, `outliers`,
`feedback`; `seen` is how what they saw comes back.
"""

from core.methods.registry import METHODS, Method, apply_method, method_needs, method_options, patch_embeddings, resolve_options

__all__ = ["METHODS", "Method", "apply_method", "method_needs", "method_options", "patch_embeddings", "resolve_options"]

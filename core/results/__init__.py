"""Results: `segmentation` is what comes out, validated, counted and saved; `overlay` draws it, in the `colours` of its classes."""

"""Results: `segmentation` is what comes out, validated and saved; `overlay` draws it, in the `colours` of its classes."""

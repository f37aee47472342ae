"""open_clip's CLIP as the backbone: `tower` is what heads see of it, `loading` its model and weights, `embedded` our own."""

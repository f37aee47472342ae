"""open_clip's CLIP as the backbone: `tower` is what the heads see of it, `loading` gets it with its weights, `embedded` is our own."""

"""Other frozen vision models than CLIP."""

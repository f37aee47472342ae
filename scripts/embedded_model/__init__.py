"""The embedded model's workshop: `train` makes its weights by `step`s, `pictures` the scenes that the demo shows."""

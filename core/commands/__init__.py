"""The commands: options in, lines out. `scripts/NAME.py` is the door of each; what they do lies in the other rooms."""

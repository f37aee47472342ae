"""What a method saw of a picture: `look` gathers it from one pass, `sheets` draws it."""

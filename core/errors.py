"""The one kind of error that is meant for a person."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what to do.

    Commands print it without a traceback and exit with code 2.
    """

"""The one kind of error that is meant for a person, and what to say of the others."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what to do.

    Commands print it without a traceback and exit with code 2.
    """


SURVIVED = (InputError, MemoryError, RuntimeError)
"""What one picture of many may raise: PyTorch and Jittor say in a RuntimeError that memory ran out. See `reason_of`."""


def reason_of(error: Exception, advice: str = "") -> str:
    """Why one picture of many failed, in one line; anything but bad input and a lack of memory is a bug, and raised again.

    advice: what to do where memory ran out.
    """
    if isinstance(error, InputError):
        return str(error)
    if lacks_memory(error):
        return "; ".join(filter(None, ("not enough memory for it", advice)))
    raise error


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    says = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in says or "out of memory" in says


def first_line(error: Exception) -> str:
    """An error in one line."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {reason[:120]}"

"""The one kind of error that is meant for a person, and the one that memory's end can look like."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what to do.

    Commands print it without a traceback and exit with code 2.
    """


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; PyTorch and Jittor say so in a RuntimeError."""
    says = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in says or "out of memory" in says


def first_line(error: Exception) -> str:
    """An error in one line."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {reason[:120]}"

"""What a person should know though nothing failed: notes, a line each on the error stream."""

import sys
import unicodedata


def note(text: str) -> None:
    """Says `one_line` of a text on the error stream, above a bar where there is one; nothing where that stream is closed."""
    if sys.stderr is None:
        return
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(f"note: {one_line(text)}", file=sys.stderr, flush=True)
    else:
        bars.tqdm.write(f"note: {one_line(text)}", file=sys.stderr)


def one_line(text: object, most: int = 1000) -> str:
    """A text fit to stand in one line: control characters escaped, and of a longer one the middle left out."""
    text = str(text)
    if len(text) > most:
        text = f"{text[: most * 2 // 3]}...{text[-(most // 3) :]}"
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    # Cc: control; Cs: lone surrogates, which are undecodable bytes of a name; Zl and Zp end a line somewhere.
    odd = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return character.encode("unicode_escape").decode() if odd else character

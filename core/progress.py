"""Progress of a long run on the error stream: a bar on a terminal, else a plain line now and then."""

import sys
import time
from typing import Any

EVERY = 30.0  # seconds between plain lines


class Progress:
    """Counts pictures: rate, remaining time and a running figure, such as `mIoU 38.2`.

    n: pictures, or whatever `unit` says, in all. done: those that an earlier run measured, which the rate leaves out. what:
    said before the bar.
    """

    def __init__(self, n: int, done: int = 0, unit: str = "picture", what: str | None = None) -> None:
        self.n, self.done, self.unit = n, done, unit
        self._begun = self._told = time.monotonic()
        self._first = done
        self._bar: Any = None
        if n > 1 and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=n, initial=done, unit=unit, desc=what, dynamic_ncols=True)

    def step(self, figure: str = "") -> None:
        """One picture more, and what the figures come to so far."""
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(figure, refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if now - self._told >= EVERY and self.done < self.n:
            self._told = now
            rate = (self.done - self._first) / (now - self._begun)
            left = _duration((self.n - self.done) / rate)
            parts = (f"{self.done} of {self.n} {self.unit}s", f"{rate:.2f} a second", f"{left} left", figure)
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def say(self, text: str, file: Any = None) -> None:
        """Print a line on the error stream, or on `file`, above the bar where there is one."""
        file = sys.stderr if file is None else file
        if self._bar is not None:
            self._bar.write(text, file=file)
        else:
            print(text, file=file, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"

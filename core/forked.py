"""A process forked from one that has computed: the threads it would compute with are not in it, and it would wait for ever."""

import os

from core.errors import InputError


class OneProcess:
    """The process that a framework first computes in. framework: its name, for the error."""

    def __init__(self, framework: str) -> None:
        self._framework, self._pid = framework, None

    def check(self) -> None:
        """Raises InputError in a process forked from the one that called this first."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise InputError(
                f"{self._framework} has computed in process {self._pid} and cannot in its fork {os.getpid()}: start processes"
                ' by "spawn", as multiprocessing.get_context("spawn") does, or fork before the first picture'
            )

"""A command on a terminal, as a person at the keyboard sees it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HEARD = 5.0  # seconds within which it shows that it was interrupted


class Terminal:
    """Starts a command whose input and output are a terminal."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._here, there = pty.openpty()
        self._process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=there, stdout=there, stderr=there
        )
        os.close(there)
        self.shown = ""

    def until(self, words: str, seconds: float = 90) -> None:
        """Wait until it shows these words."""
        deadline = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(1), self.shown

    def interrupt(self) -> None:
        """Press Ctrl-C, and again where it came just before a read: Python does not hear that."""
        shown, process = self.shown, self._process
        while self.shown == shown and process.poll() is None:
            process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + HEARD
            while self.shown == shown and time.monotonic() < deadline and self._read(HEARD):
                pass

    def type(self, text: str) -> None:
        os.write(self._here, text.encode())

    def end(self, seconds: float = 90) -> int:
        """Return its exit code once it has ended."""
        deadline = time.monotonic() + seconds
        while self._read(1):
            assert time.monotonic() < deadline, self.shown
        os.close(self._here)
        return self._process.wait(timeout=90)

    def _read(self, seconds: float) -> bool:
        """Read what it shows; False when it has closed the terminal."""
        if not select.select([self._here], [], [], seconds)[0]:
            return True
        try:
            found = os.read(self._here, 4096)
        except OSError:  # how Linux says that nobody is at the other end any more
            return False
        self.shown += found.decode(errors="replace")
        return bool(found)

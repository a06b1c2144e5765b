"""Processes that end with whoever started them, and free loopback ports."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")
REPOSITORY = Path(__file__).resolve().parents[2]
# Below the range from which the kernel hands out ports for outgoing connections, and gRPC's own.
FIRST_PORT, LAST_PORT = 20_000, 32_000


class StandError(RuntimeError):
    """A part of the stand could not be started."""


class Child:
    """A command under `guard.py`: stopping it ends every process that it started."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: IO[bytes] | int,
        container: bool = False,
        remove: Sequence[Path] = (),
    ) -> None:
        options = ["--container"] if container else []
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(GUARD), *options, *map(str, remove), "--"),
                *map(str, command),
            ],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """What the command prints, when it was started with a pipe."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> None:
        """Ask the command to end."""
        if self.running:
            self._process.terminate()

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code; None when the command still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """End the command and everything it started, at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        return self._process.wait()

    def stop(self, seconds: float) -> int:
        """Ask first, then kill."""
        self.terminate()
        self.wait(seconds)
        return self.kill()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """So many ports that nobody listens on, all found before any is given back."""
    found: list[socket.socket] = []
    try:
        for port in _candidates():
            held = socket.socket()
            try:
                held.bind((host, port))
            except OSError:
                held.close()
                continue
            found.append(held)
            if len(found) == count:
                return [one.getsockname()[1] for one in found]
        raise StandError(f"no {count} free ports between {FIRST_PORT} and {LAST_PORT}")
    finally:
        for one in found:
            one.close()


def _candidates() -> list[int]:
    """Each process starts looking somewhere else: two stands started at once rarely meet."""
    span = LAST_PORT - FIRST_PORT
    start = time.monotonic_ns() // 1000 % span
    return [FIRST_PORT + (start + step) % span for step in range(span)]


def wait_until(ready: Callable[[], bool], child: Child, log: Path, seconds: float) -> None:
    """Wait for a part; when it ends or never answers, say so with its last lines."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not child.running or time.monotonic() > deadline:
            raise StandError(f"{log.stem} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether an HTTP server answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a part: nothing of the developer's own comes in."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(REPOSITORY),
    }

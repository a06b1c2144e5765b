"""`python -m clew` by a process that has imported MLflow and DVC already.

Nearly all the processor time of a short command goes into these imports. A server imports them
once and forks for each command; everything after the imports is the real program: arguments,
environment, folder, standard streams, exit code. Commands that are sent signals or whose imports
are what is tested start the ordinary way.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

CLIENT = Path(__file__).parent / "client.py"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def command(module: str, arguments: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return what runs a module, or the code after `-c`, in a process of its own."""
    if not hasattr(os, "pidfd_open") or any(name.startswith("PYTHON") for name in environment):
        return [sys.executable, *(["-c"] if module == "-c" else ["-m", module]), *arguments]
    return [sys.executable, "-I", "-S", str(CLIENT), _server(os.getpid()), module, *arguments]


@functools.cache
def _server(owner: int) -> str:
    """Start a server that ends with this process; return the path of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="preloaded-")
    path = str(Path(folder.name) / "socket")
    variables = {"PATH": os.environ["PATH"], "HOME": folder.name, **QUIET}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded.server", path],
        cwd=Path(__file__).parents[2],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"

    def stop() -> None:
        assert server.stdin
        server.stdin.close()
        server.wait()
        folder.cleanup()

    atexit.register(stop)
    return path

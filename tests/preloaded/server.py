"""The process that has everything imported, and forks for each command."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

MODULES = (
    *("clew.cli.main", "clew.flow", "clew.adapters.mlflow", "clew.adapters.dvc"),
    *("mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"),
    "mlflow.store.model_registry.sqlalchemy_store",
    *("dvc.cli", "dvc.repo", "dvc.commands.add", "dvc.commands.repro"),
    *("networkx", "ruamel.yaml", "scmrepo.git", "alembic.command", "pyarrow.parquet"),
)
ON_AWS = ("boto3", "dvc_s3", "aiobotocore.session", "sagemaker_mlflow.auth_provider")
FAILED = 1 << 8  # the wait status of exit code 1


def preload() -> None:
    """Import what commands take long to import."""
    for module in MODULES:
        importlib.import_module(module)
    for module in ON_AWS:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def main(path: str) -> int:
    preload()
    assert threading.active_count() == 1, "threads do not survive a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # what is imported stays shared with the forks
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        os.write(1, b"ready\n")
        while True:
            ready, _, _ = select.select([listening.fileno(), 0], [], [])
            if 0 in ready:  # the tests have ended
                return 0
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _supervise(connection)
            connection.close()


def _supervise(connection: socket.socket) -> NoReturn:
    """Run one command; kill it when whoever asked is gone."""
    status = FAILED
    with contextlib.suppress(OSError):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        header, streams, _, _ = socket.recv_fds(connection, 4, 3)
        asked = _received(connection, int.from_bytes(header, "big"))
        child = os.fork()
        if child == 0:
            connection.close()
            _run(json.loads(asked), streams)
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(child)
        ready, _, _ = select.select([ended, connection.fileno()], [], [])
        if ended not in ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        connection.sendall(status.to_bytes(4, "big"))
    os._exit(0)


def _received(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise ConnectionError("whoever asked is gone")
        content += part
    return content


def _run(asked: dict[str, Any], streams: list[int]) -> NoReturn:
    """Become the command from here on: `python -m MODULE ARGUMENTS`, or `python -c CODE`."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    time.tzset()
    sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")
    module, *arguments = asked["argv"]
    sys.path[0] = asked["cwd"]
    code = 1
    try:
        if module == "-c":
            sys.argv = ["-c", *arguments[1:]]
            exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = _code(error)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    _finish(code)


def _text(stream: int, mode: str) -> io.TextIOWrapper:
    errors = "backslashreplace" if stream == 2 else "surrogateescape"
    lines = stream == 2 or os.isatty(stream)
    raw = io.FileIO(stream, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=lines)


def _code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _finish(code: int) -> NoReturn:
    """Do what the interpreter does at its end, then go without running the server's own end."""
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

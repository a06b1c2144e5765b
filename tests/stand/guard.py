"""Run one command and let nothing of it outlive its parent: what a container's init does.

Started as `python -I -S guard.py [--container] [--remove FILE]… -- COMMAND…` with a pipe as its
standard input. When the pipe closes (the parent wants the end, or was killed), every process
that the command started is killed, also those that made themselves daemons.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

PR_SET_CHILD_SUBREAPER = 36
TERM_BIT = 1 << (signal.SIGTERM - 1)


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getppid()
    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    child = _spawn(command)
    try:
        return _watch(child, parent, wake, container="--container" in options)
    finally:
        _kill_everything()
        _remove(option for option in options if option.startswith("/"))


def _spawn(command: list[str]) -> int:
    nothing = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0)]
    return os.posix_spawnp(
        command[0],
        command,
        os.environ,
        file_actions=actions,
        setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE],
        setpgroup=0,
    )


def _watch(child: int, parent: int, wake: int, *, container: bool) -> int:
    """The command's exit code, or 137 when the parent ended it."""
    while True:
        ready = select.select([0, wake], [], [], 0.5)[0]
        signals = os.read(wake, 64) if wake in ready else b""
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            _terminate(child, container=container)
        code = _reap(child)
        if code is not None:
            return code
        if os.getppid() != parent or (0 in ready and not os.read(0, 64)):
            return 137


def _terminate(child: int, *, container: bool) -> None:
    """Pass SIGTERM on; a container's first process without a handler never sees it.

    The kernel drops signals that the init process of a PID namespace does not handle, see
    https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
    """
    if not container or _handles_sigterm(child):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)


def _handles_sigterm(pid: int) -> bool:
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) & TERM_BIT)
    return False


def _reap(child: int) -> int | None:
    """Collect what has ended; the exit code when the command itself is among it."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0 if found is None else found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _kill_everything() -> None:
    """A killed process hands its children to this subreaper, so repeat until none is left."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (a fast start: no pathlib here)
        if entry.isdigit():
            status = _read(f"/proc/{entry}/stat")
            if status:
                children.setdefault(int(status.rpartition(")")[2].split()[1]), []).append(
                    int(entry)
                )
    found: list[int] = []
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

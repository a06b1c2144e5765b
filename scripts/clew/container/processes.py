"""The processes of a job on this machine: none outlives what started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

LIFELINE = "CLEW_LIFELINE"  # a pipe that ends when the local supervisor does
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def hold(lifeline: int) -> None:
    """Kill the whole job when the process at the other end of the pipe is gone."""
    os.set_inheritable(lifeline, False)
    adopt_orphans()
    threading.Thread(target=_die_with, args=[lifeline], daemon=True).start()


def _die_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    while family := descendants(os.getpid()):
        send(family, signal.SIGKILL)
        time.sleep(0.01)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Stay the ancestor of everything that is started from here, daemons too (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(ancestor: int) -> list[int]:
    """Return the living processes below this one; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text(errors="replace").rpartition(") ")[2].split()[:2]
        except OSError:
            continue  # it ended in between
        pid = int(path.parent.name)
        children.setdefault(int(parent), []).append(pid)
        if state not in "ZX":
            living.add(pid)
    found = [ancestor]
    for pid in found:
        found += children.get(pid, ())
    return [pid for pid in found[1:] if pid in living]


def send(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

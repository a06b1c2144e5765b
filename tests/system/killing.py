"""Runs `clew run` in a forked child that kills itself at the n-th outside effect.

The parent has MLflow and DVC imported already, so a child starts at once.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clew.cli import wiring
from clew.context import Context
from tests.system.small import Small

# Every method of a port that changes something outside.
EFFECTS = {
    "repository": {"archive", "commit_file", "create_tag", "push_tag", "advance", "fast_forward"},
    "store": {"push"},
    "executor": {"submit", "wait"},
    "tracker": {
        *("claim", "record", "finish", "save_files"),
        *("create_version", "tag_version", "set_alias"),
    },
}


class Spy:
    """Passes calls on to a port and tells about every effect before and after it."""

    def __init__(self, port: Any, kind: str, told: Callable[[str], None]) -> None:
        self._port, self._kind, self._told = port, kind, told

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if name not in EFFECTS[self._kind]:
            return attribute

        def call(*arguments: Any, **keywords: Any) -> Any:
            self._told(f"before {self._kind}.{name}")
            result = attribute(*arguments, **keywords)
            self._told(f"after {self._kind}.{name}")
            return result

        return call


def spied(context: Context, told: Callable[[str], None]) -> Context:
    project = dataclasses.replace(
        context.project, repository=Spy(context.project.repository, "repository", told)
    )
    ports: dict[str, Any] = {
        kind: Spy(getattr(context, kind), kind, told) for kind in EFFECTS.keys() - {"repository"}
    }
    return dataclasses.replace(context, project=project, **ports)


def effects(small: Small, arguments: Sequence[str] = ("run",)) -> list[str]:
    """Run undisturbed and return the points that were passed, in order."""
    log = small.folder / "points"
    assert child(small, arguments, lambda point: append(log, point)) == 0
    return log.read_text().splitlines()


def kill_at(small: Small, number: int, arguments: Sequence[str] = ("run",)) -> bool:
    """Run and SIGKILL at the point of this number; tell whether it was reached."""
    passed = 0

    def told(_point: str) -> None:
        nonlocal passed
        if passed == number:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    return child(small, arguments, told) == -signal.SIGKILL


def child(small: Small, arguments: Sequence[str], told: Callable[[str], None]) -> int:
    """Run clew in a forked process and return its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        _in_child(small, arguments, told)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _in_child(small: Small, arguments: Sequence[str], told: Callable[[str], None]) -> None:
    code = 99
    try:
        os.chdir(small.work)
        environment = small.environment
        os.environ.clear()
        os.environ.update(environment)
        output = os.open(small.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        original = wiring.open_context
        wiring.open_context = lambda *given: spied(original(*given), told)
        from clew.cli import main

        main(arguments)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")

"""What a job says: in its log, and why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

FAILED = "the job failed"  # what follows in the log is not the stage's
USER_INFO = re.compile(r"://[^/@\s'\"]*@")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class JobError(Exception):
    """A failure that explains itself."""


def say(text: str) -> None:
    sys.stdout.write(f"clew: {text}\n")
    sys.stdout.flush()


def is_told(error: Exception) -> bool:
    """Tell whether an error explains itself: DVC's do, and what its stages printed is above."""
    return isinstance(error, JobError) or any(
        base.__name__ == "DvcException" for base in type(error).__mro__
    )


def reason(error: BaseException) -> str:
    """Return the chain of causes in one line, SageMaker's FailureReason."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(" ".join(COLOUR.sub("", str(cause)).split()) or type(cause).__name__)
        cause = cause.__cause__
    return USER_INFO.sub("://", ": ".join(dict.fromkeys(causes)))[:1024]


class Progress:
    """Says how many files are done of how many: once a second and once a hundredth at most.

    What is over within the first second is not worth a word; else the end is told too.
    """

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._said = 0
        self._next = time.monotonic() + 1

    def at(self, done: int, total: int) -> None:
        now = time.monotonic()
        is_due = now >= self._next and (done - self._said) * 100 >= total
        if is_due or (self._said and done == total):
            self._next, self._said = now + 1, done
            say(f"{self._verb} {done}/{total} files")


@contextlib.contextmanager
def counting(outs: Iterable[Any], cache: str) -> Iterator[None]:
    """Tell a pull's progress by the files in the cache: DVC shows its own to terminals only."""
    total = sum(out.meta.nfiles or 1 for out in outs)
    over = threading.Event()

    def watch() -> None:
        said = Progress("pulled")
        while not over.wait(1):
            found = sum(len(files) for _, _, files in os.walk(cache))
            said.at(min(found, total), total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()

"""SageMaker's Describe and List calls, no more of them than AWS lets a whole account make.

All clew processes of a user share one file, in which each call takes the next free moment; a few
moments that nobody took are kept, so that a short command need not wait between its calls. The lock
is held only for that, and the system gives it back when a process dies: a kill wastes one moment.
The rule is the generic cell rate algorithm, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
from pathlib import Path
from typing import Any

from clew.adapters.aws import Aws

CALLS_PER_SECOND = 2.0
KEPT = 10  # calls at once, where nobody called for as long
READING = ("Describe", "List")  # what the operations begin with that are limited
FARTHEST = 120.0  # seconds ahead; more was written before the machine started anew


class Pace:
    """Lets so many calls a second through, and at first as many at once as `kept`."""

    def __init__(
        self, file: Path, per_second: float = CALLS_PER_SECOND, *, kept: int = KEPT
    ) -> None:
        self._file = file
        self._pause = 1 / per_second
        self._ahead = (kept - 1) * self._pause
        self._own = 0.0  # the next free moment, where there is no file to share

    def wait(self) -> None:
        """Return when it is this call's turn."""
        now = time.monotonic()  # one clock for all processes of a machine
        try:
            moment = self._shared(now)
        except OSError:  # no such folder can be written: a container's user without a home
            moment = max(now, self._own)
            self._own = moment + self._pause
        if moment - self._ahead > now:
            time.sleep(moment - self._ahead - now)

    def _shared(self, now: float) -> float:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            free = 0.0
            with contextlib.suppress(ValueError):
                free = float(file.read())
            moment = now if free - now > FARTHEST else max(now, free)
            file.seek(0)
            file.write(f"{moment + self._pause:<25.6f}")  # always as long: never a rest of the last
        return moment


class PacedAws(Aws):
    """AWS clients whose SageMaker client reads at a pace."""

    def __init__(self, region: str, pace: Pace) -> None:
        super().__init__(region)
        self._pace = pace

    @functools.cache  # noqa: B019  # lives as long as the command
    def client(self, service: str) -> Any:
        made = super().client(service)
        if service == "sagemaker":
            # Before each attempt, retries as well, is signed: a signature does not keep.
            made.meta.events.register("before-sign.sagemaker", self._before)
        return made

    def _before(self, operation_name: str, **_others: Any) -> None:
        if operation_name.startswith(READING):
            self._pace.wait()

"""Jobs on this machine, run as SageMaker would run them.

A job is a folder under `.clew/jobs`. It appears by one rename, with its spec in it, so a name is
taken exactly once; whoever finds it attaches to it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clew.errors import OutsideError
from clew.ports import Executor, Job, JobExists, JobSpec, JobStatus

POLL_SECONDS = 0.05
START_SECONDS = 30.0  # a supervisor that has not taken its lock by then never will


class LocalExecutor(Executor):
    """Runs each job in a folder of its own, supervised by a process of its own."""

    name = "local"

    def __init__(self, folder: Path, inherited: Mapping[str, str]) -> None:
        self._folder = folder
        self._inherited = dict(inherited)  # the variables that the configuration lets through

    def submit(self, spec: JobSpec) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        document = asdict(spec) | {
            "bundle": str(spec.bundle),
            "environment": {**self._inherited, **spec.environment},
        }
        try:
            _write_private(staging / "spec.json", json.dumps(document))
            staging.rename(self._folder / spec.name)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            if (self._folder / spec.name).exists():
                raise JobExists(spec.name) from error
            raise
        self._supervise(spec.name)

    def find(self, name: str) -> Job | None:
        folder = self._folder / name
        if not (folder / "spec.json").exists():
            return None
        spec = json.loads((folder / "spec.json").read_text())
        status = self._status(folder)
        if status is None:
            self._supervise(name)  # the submitter died before it started the job
            status = {"status": "InProgress", "started": time.time()}
        return _job(folder, spec, status)

    def wait(self, name: str, on_line: Callable[[str], None]) -> Job:
        folder = self._folder / name
        lines = _Tail(folder / "log", on_line)
        try:
            return self._follow(folder, lines)
        except KeyboardInterrupt:
            self.stop(name)
            raise

    def _follow(self, folder: Path, lines: _Tail) -> Job:
        deadline = time.monotonic() + START_SECONDS
        while True:
            status = self._status(folder)
            lines.read()
            if status is None and time.monotonic() > deadline:
                raise OutsideError(
                    f"the job {folder.name} did not start within {START_SECONDS:.0f} s",
                    fix=f"See {folder / 'supervisor.log'}, then run the same command again.",
                )
            if status is not None and status["status"] != JobStatus.IN_PROGRESS.value:
                lines.read()
                return _job(folder, json.loads((folder / "spec.json").read_text()), status)
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> None:
        folder = self._folder / name
        status = self._status(folder)
        if status is None or status["status"] != JobStatus.IN_PROGRESS.value:
            return
        os.kill(status["pid"], signal.SIGTERM)
        self.wait(name, lambda _line: None)

    def _supervise(self, name: str) -> None:
        folder = self._folder / name
        with (folder / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "clew.adapters.local_supervisor", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _status(self, folder: Path) -> dict[str, Any] | None:
        """Return what the supervisor wrote, or that it died without a word."""
        status = _read_status(folder)
        if status is None or status["status"] != JobStatus.IN_PROGRESS.value:
            return status
        if _locked(folder / "lock"):
            return status
        last = _read_status(folder) or status  # it may have ended since the first look
        if last["status"] != JobStatus.IN_PROGRESS.value:
            return last
        return last | {"status": JobStatus.FAILED.value, "reason": "its supervisor was killed"}


class _Tail:
    """Hands on the lines of a growing file as they are completed."""

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._path, self._on_line, self._position, self._rest = path, on_line, 0, b""

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            chunk = file.read()
            self._position = file.tell()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def _job(folder: Path, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Job:
    result = folder / "ml/output/data/clew-result.json"
    counts = json.loads(result.read_text()) if result.exists() else {}
    return Job(
        name=folder.name,
        status=JobStatus(status["status"]),
        environment=spec["environment"],
        reason=status.get("reason", ""),
        seconds=status.get("ended", time.time()) - status["started"],
        output=folder / "ml",
        pushed=counts.get("pushed", 0),
        reused=counts.get("reused", 0),
    )


def _read_status(folder: Path) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = json.loads((folder / "status.json").read_text())
    except FileNotFoundError:
        return None
    return status


def _locked(path: Path) -> bool:
    """Tell whether a living supervisor holds the lock."""
    try:
        with path.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads: a job's environment may hold credentials."""
    path.touch(mode=0o600)
    path.write_text(text)

"""Jobs on this machine, run as SageMaker would run them.

A job is a folder under `.clew/jobs`. It appears by one rename, with its spec in it, so a name is
taken exactly once; whoever finds it attaches to it.
"""

from __future__ import annotations

import contextlib
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

from clew.adapters.local_supervisor import INHERITED, conclude, locked
from clew.errors import OutsideError
from clew.ports import Executor, Job, JobExists, JobSpec, JobStatus

POLL_SECONDS = 0.05
START_SECONDS = 30.0  # a job that has not begun by then never will
PATIENCE_SECONDS = 2.0  # before another supervisor is started for a job that has not begun


class LocalExecutor(Executor):
    """Runs each job in a folder of its own, supervised by a process of its own."""

    name = "local"

    def __init__(self, folder: Path, inherited: Mapping[str, str]) -> None:
        self._folder = folder
        self._inherited = dict(inherited)  # the variables that the configuration lets through

    def submit(self, spec: JobSpec) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # mkdtemp's folder is private: a job's environment may hold credentials.
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        document = asdict(spec) | {"bundle": str(spec.bundle.absolute())}
        try:
            (staging / INHERITED).write_text(json.dumps(self._inherited))
            (staging / "spec.json").write_text(json.dumps(document))
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
        status = _status(folder)
        if status is None:
            self._supervise(name)  # the submitter died before it started the job
        return _job(folder, status)

    def wait(self, name: str, on_line: Callable[[str], None]) -> Job:
        return self._follow(name, _Tail(self._folder / name / "log", on_line))

    def _follow(self, name: str, lines: _Tail) -> Job:
        folder = self._folder / name
        started = looked = time.monotonic()
        while True:
            status = _status(folder)
            lines.read()
            if _ended(status):
                lines.finish()
                return _job(folder, status)
            now = time.monotonic()
            if status is None and now > looked + PATIENCE_SECONDS:
                if now > started + START_SECONDS:
                    raise OutsideError(
                        f"the job {name} did not start within {START_SECONDS:.0f} s",
                        fix=f"See {folder / 'supervisor.log'}, then run the same command again.",
                    )
                self._supervise(name)  # whoever submitted it died before starting it
                looked = now
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> None:
        folder = self._folder / name
        if not folder.exists():
            return
        (folder / "stop").touch()  # for a supervisor that has only just begun
        status = _status(folder)
        if status is not None and not _ended(status):
            with contextlib.suppress(ProcessLookupError):
                os.kill(status["pid"], signal.SIGTERM)
        self._follow(name, _Tail(folder / "log", lambda _line: None))

    def model(self, name: str) -> Path:
        return self._folder / name / "ml/model"

    def _supervise(self, name: str) -> None:
        """Start a supervisor; one that comes second leaves at once."""
        folder = self._folder / name
        with (folder / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                # -P: the current folder, which is the user's, must not shadow modules
                [sys.executable, "-P", "-m", "clew.adapters.local_supervisor", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


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

    def finish(self) -> None:
        self.read()
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))


def _status(folder: Path) -> dict[str, Any] | None:
    """Return what the supervisor wrote; one that died without a word is spoken for."""
    status = _read_status(folder)
    if status is None or _ended(status):
        return status
    with locked(folder) as mine:
        if not mine:
            return status
        status = _read_status(folder) or status  # it may have ended since the first look
        if not _ended(status):
            reason = "its supervisor was killed"
            conclude(folder, status="Failed", reason=reason, started=status["started"])
    return _read_status(folder)


def _read_status(folder: Path) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = json.loads((folder / "status.json").read_text())
    except FileNotFoundError:
        return None
    return status


def _ended(status: dict[str, Any] | None) -> bool:
    return status is not None and status["status"] != JobStatus.IN_PROGRESS.value


def _job(folder: Path, status: dict[str, Any] | None) -> Job:
    status = status or {"status": JobStatus.IN_PROGRESS.value, "started": time.time()}
    result = folder / "ml/output/data/clew-result.json"
    counts = json.loads(result.read_text()) if _ended(status) and result.exists() else {}
    spec = json.loads((folder / "spec.json").read_text())
    return Job(
        name=folder.name,
        status=JobStatus(status["status"]),
        environment=spec["environment"],
        reason=status.get("reason", ""),
        seconds=status.get("ended", time.time()) - status["started"],
        output=folder / "ml" if status["status"] == JobStatus.COMPLETED.value else None,
        pushed=counts.get("pushed", 0),
        reused=counts.get("reused", 0),
    )

"""A folder with an executor, a DVC remote, and jobs made of shell one-liners."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clew.adapters.local import LocalExecutor
from clew.ports import Job, JobSpec, RemoteConfig

# Jobs of which no process may be left: daemons, other sessions, no environment to know them by.
CHILDREN = "(sleep 300 &) ; setsid sleep 300 & env -i setsid sleep 301 & echo started; sleep 300"
SLEEP = "echo started; sleep 300"


class Bench:
    """A folder with an executor, a DVC remote, and jobs made of shell one-liners."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"
        self.storage = folder / "storage"
        self.executor = LocalExecutor(self.jobs, {})

    def spec(self, name: str = "job-1", cmd: str = "true", **change: Any) -> JobSpec:
        stage = change.pop("stage", {})
        files = {
            ".dvc/config": "[core]\n    autostage = true\n[cache]\n    dir = ../../shared\n",
            "dvc.yaml": json.dumps({"stages": {"main": {"cmd": cmd, **stage}}}),
            **change.pop("files", {}),
        }
        bundle = self.folder / f"{name}.tar"
        with tarfile.open(bundle, "w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        defaults: dict[str, Any] = {
            "name": name,
            "bundle": bundle,
            "bundle_sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
            "workdir": ".",
            "stages": ("main",),
            "remote": RemoteConfig("storage", str(self.storage)),
            "force": True,
            "max_seconds": 60,
        }
        return JobSpec(**defaults | change)

    def run(self, spec: JobSpec, lines: list[str] | None = None) -> Job:
        self.executor.submit(spec)
        return self.executor.wait(spec.name, (lines if lines is not None else []).append)

    def processes(self, name: str = "job-1") -> dict[int, str]:
        """Return the living processes that are part of a job, also those in other sessions."""
        return processes_with(f"SAGEMAKER_BASE_DIR={self.jobs / name / 'ml'}")

    def supervisor(self, name: str = "job-1") -> int:
        pid: int = json.loads((self.jobs / name / "status.json").read_text())["pid"]
        return pid

    def started(self, name: str = "job-1") -> None:
        log = self.jobs / name / "log"
        eventually(lambda: log.exists() and b"\nstarted\n" in log.read_bytes())


def processes_with(variable: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if variable.encode() in variables:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    direct = [int(line) for line in children.stdout.split()]
    return direct + [found for child in direct for found in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for folder in bench.jobs.glob("job-*"):
        bench.executor.stop(folder.name)
        assert bench.processes(folder.name) == {}


def store(folder: Path, content: bytes) -> str:
    """Put an object into a DVC remote; return its hash."""
    md5 = hashlib.md5(content).hexdigest()
    path = folder / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5

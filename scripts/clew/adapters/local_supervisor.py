"""The parent of one local job: starts it, bounds it, stops it, writes down how it ended.

It runs in a session of its own, so a killed `clew` leaves it working and the next `clew`
attaches to the job. Its lock on `lock` is the sign that it lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import FrameType
from typing import IO, Any

TERMINATION_SECONDS = 5.0  # between SIGTERM and SIGKILL; SageMaker gives 120


class Stopped(Exception):
    """Someone asked the job to stop."""


def main(folder: Path) -> int:
    with (folder / "lock").open("w") as lock:
        if not take(lock) or (folder / "status.json").exists():
            return 0  # another supervisor has this job
        signal.signal(signal.SIGTERM, _stop)
        supervise(folder, json.loads((folder / "spec.json").read_text()))
    return 0


def take(lock: IO[str]) -> bool:
    """Take the lock; a look at it by `find` holds it for a moment, so try more than once."""
    for _attempt in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


def supervise(folder: Path, spec: dict[str, Any]) -> None:
    started = time.time()
    write_status(folder, status="InProgress", started=started, pid=os.getpid())
    try:
        status, reason = execute(folder, spec)
    except Stopped:
        status, reason = "Stopped", "stopped on request"
    except Exception as error:
        status, reason = "Failed", f"AlgorithmError: {error}"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tidy(folder)
    write_status(folder, status=status, reason=reason, started=started, ended=time.time())


def execute(folder: Path, spec: dict[str, Any]) -> tuple[str, str]:
    """Run the job in SageMaker's layout; return its final status and FailureReason."""
    base = folder / "ml"
    unpack(Path(spec["bundle"]), base / "code")
    for name in ("input/config", "input/data", "model", "output/data", "tmp", "home"):
        (base / name).mkdir(parents=True, exist_ok=True)
    environment = write_inputs(base, spec)
    entry = Path(__file__).with_name("job_entry.py")
    with (folder / "log").open("ab", buffering=0) as log:
        process = start([sys.executable, "-P", str(entry)], base / "code", environment, log)
        try:
            code = process.wait(timeout=spec["max_seconds"])
        except subprocess.TimeoutExpired:
            end(process)
            limit = f"{spec['max_seconds']} s"
            return "Stopped", f"MaxRuntimeExceeded: the job ran longer than its limit of {limit}"
        except Stopped:
            end(process)
            raise
    end(process)
    if code == 0:
        return "Completed", ""
    return "Failed", failure_reason(base, folder / "log", code)


def start(
    command: list[str], cwd: Path, environment: dict[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process of the job behind."""
    signals = (signal.SIGTERM, signal.SIGKILL) if process.poll() is None else (signal.SIGKILL,)
    for number in signals:
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=TERMINATION_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def unpack(bundle: Path, target: Path) -> None:
    target.mkdir(parents=True)
    with tarfile.open(bundle) as archive:
        archive.extractall(target, filter="data")


def write_inputs(base: Path, spec: dict[str, Any]) -> dict[str, str]:
    """Write input/config as SageMaker does and return the job's whole environment."""
    job = {name: spec[name] for name in JOB_FIELDS}
    hyperparameters = {**spec["hyperparameters"], "clew_job": json.dumps(job)}
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    channels = {
        name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        for name in spec["channels"]
    }
    config = base / "input/config"
    for name, value in (
        ("hyperparameters", hyperparameters),
        ("resourceconfig", hosts),
        ("inputdataconfig", channels),
    ):
        (config / f"{name}.json").write_text(json.dumps(value))
    return job_environment(base, spec, sorted(channels))


JOB_FIELDS = (
    *("workdir", "stages", "remote", "pull", "push"),
    *("force", "params", "channels", "model", "collect"),
)


def job_environment(base: Path, spec: dict[str, Any], channels: list[str]) -> dict[str, str]:
    """Return what the stages need and nothing of the caller's own environment."""
    path = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "DVC_SITE_CACHE_DIR": str(base / "tmp"),
        "DVC_NO_ANALYTICS": "true",
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": str(base),
        "TRAINING_JOB_NAME": spec["name"],
        "SM_HPS": json.dumps({k: json.loads(v) for k, v in spec["hyperparameters"].items()}),
        "SM_CHANNELS": json.dumps(channels),
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_NUM_GPUS": "0",
        "SM_INPUT_DIR": str(base / "input"),
        "SM_INPUT_CONFIG_DIR": str(base / "input/config"),
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_OUTPUT_DATA_DIR": str(base / "output/data"),
        **spec["environment"],
    }


def failure_reason(base: Path, log: Path, code: int) -> str:
    """Return the job's own words, with the last line that its stage printed."""
    failure = base / "output/failure"
    said = failure.read_text().strip() if failure.exists() else f"the job exited with {code}"
    lines = log.read_text(errors="replace").split("Traceback (most recent call last)")[0]
    last = [line for line in lines.splitlines() if line.strip()][-1:]
    return " | ".join(["AlgorithmError: " + said, *last])[:1024]


def tidy(folder: Path) -> None:
    """Remove the job's copies of code and data; results and log stay."""
    for name in ("code", "tmp", "home"):
        shutil.rmtree(folder / "ml" / name, ignore_errors=True)


def write_status(folder: Path, **status: Any) -> None:
    temporary = folder / "status.tmp"
    temporary.write_text(json.dumps(status))
    temporary.replace(folder / "status.json")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

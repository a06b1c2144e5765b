"""The parent of one local job: starts it, bounds it, stops it, writes down how it ended.

It runs in a session of its own, so a killed `clew` leaves it working and the next `clew`
attaches to the job. Its lock on `lock` is the sign that it lives; the job ends when it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from clew.adapters.job_code import CONTAINER_FIELDS, job_code
from clew.container.messages import FAILED
from clew.container.processes import LIFELINE, adopt_orphans, descendants, send

TERMINATION_SECONDS = 5.0  # between SIGTERM and SIGKILL; SageMaker gives 120
REASON_CHARACTERS = 1024  # SageMaker's limit
INHERITED = "inherited.json"  # what the configuration lets through of the caller's environment
LOG_TAIL = 65_536  # bytes in which the stage's last line is looked for


class Stopped(Exception):
    """Someone asked the job to stop."""


def main(folder: Path) -> int:
    with locked(folder, attempts=20) as mine:
        if mine and not (folder / "status.json").exists():
            signal.signal(signal.SIGTERM, _stop)
            adopt_orphans()
            supervise(folder, json.loads((folder / "spec.json").read_text()))
    return 0


@contextlib.contextmanager
def locked(folder: Path, attempts: int = 1) -> Iterator[bool]:
    """Hold the job's lock, or say that another process does; a look at it takes it for a moment."""
    with (folder / "lock").open("a") as lock:
        for attempt in range(attempts):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05 if attempt + 1 < attempts else 0)
            else:
                yield True
                return
        yield False


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever asks twice must not disturb the first
    raise Stopped


def supervise(folder: Path, spec: dict[str, Any]) -> None:
    started = time.time()
    write_status(folder, status="InProgress", started=started, pid=os.getpid())
    try:
        if (folder / "stop").exists():
            raise Stopped
        status, reason = execute(folder, spec)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Stopped:
        status, reason = "Stopped", "stopped on request"
    except Exception as error:
        status, reason = "Failed", f"AlgorithmError: {error}"
    conclude(folder, status=status, reason=reason, started=started)


def execute(folder: Path, spec: dict[str, Any]) -> tuple[str, str]:
    """Run the job in SageMaker's layout; return its final status and FailureReason."""
    base = folder / "ml"
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    inherited = taken(folder / INHERITED)
    environment = {**write_inputs(base, spec), **inherited, **spec["environment"]}
    with running(base / "code", environment, folder / "log") as process:
        try:
            code = process.wait(timeout=spec["max_seconds"])
        except subprocess.TimeoutExpired:
            end(process)
            limit = f"{spec['max_seconds']} s"
            return "Stopped", f"MaxRuntimeExceeded: the job ran longer than its limit of {limit}"
        except Stopped:
            end(process)
            raise
    if code == 0:
        return "Completed", ""
    return "Failed", failure_reason(base, folder / "log", code)


def taken(file: Path) -> dict[str, str]:
    """Return the caller's variables and leave no copy: they may be secrets."""
    found: dict[str, str] = json.loads(file.read_text())
    file.unlink()
    return found


# --- processes -----------------------------------------------------------------------------------


@contextlib.contextmanager
def running(cwd: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the job's code; whatever happens, no process of the job is left afterwards."""
    code = cwd / "job.pyz"
    code.write_bytes(job_code())
    lifeline, mine = os.pipe()
    try:
        with log.open("ab", buffering=0) as output:
            process = subprocess.Popen(
                [sys.executable, str(code)],
                cwd=cwd,
                env={**environment, LIFELINE: str(lifeline)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lifeline],
            )
        yield process
    finally:
        os.close(lifeline)
        os.close(mine)
        deadline = time.monotonic() + TERMINATION_SECONDS
        while (family := descendants(os.getpid())) and time.monotonic() < deadline:
            send(family, signal.SIGKILL)
            time.sleep(0.01)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let the job's processes end in order, for a while; `running` kills what is left."""
    family = descendants(os.getpid())
    send(family, signal.SIGTERM)
    if not family:  # no /proc, or just over
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + TERMINATION_SECONDS
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.02)


# --- what the job is given -----------------------------------------------------------------------

FOLDERS = (
    *("code", "home", "input/config", "input/data/clew"),
    *("model", "output/data", "tmp"),
)
HOSTS = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}


def write_inputs(base: Path, spec: dict[str, Any]) -> dict[str, str]:
    """Write what SageMaker writes before a job and return the variables that it sets."""
    channels = {
        name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        for name in spec["channels"]
    }
    for name, value in (
        ("config/hyperparameters", spec["hyperparameters"]),
        ("config/resourceconfig", HOSTS),
        ("config/inputdataconfig", channels),
        ("data/clew/job", {name: spec[name] for name in CONTAINER_FIELDS}),
    ):
        (base / f"input/{name}.json").write_text(json.dumps(value))
    return job_environment(base, spec, channels)


def job_environment(
    base: Path, spec: dict[str, Any], channels: dict[str, dict[str, str]]
) -> dict[str, str]:
    """Return what the stages need and nothing of the caller's own environment."""
    path = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "DVC_SITE_CACHE_DIR": str(base / "tmp"),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "PYTHONUNBUFFERED": "1",
        **sagemaker_variables(base, spec, channels),
    }


def sagemaker_variables(
    base: Path, spec: dict[str, Any], channels: dict[str, dict[str, str]]
) -> dict[str, str]:
    """Return what SageMaker's training toolkit sets; clew.container adds SM_CHANNEL_<NAME>."""
    hyperparameters = {name: _decoded(text) for name, text in spec["hyperparameters"].items()}
    return {
        "SAGEMAKER_BASE_DIR": str(base),
        "TRAINING_JOB_NAME": spec["name"],
        "SM_HPS": json.dumps(hyperparameters),
        **{f"SM_HP_{name.upper()}": str(value) for name, value in hyperparameters.items()},
        "SM_CHANNELS": json.dumps(sorted(channels)),
        "SM_INPUT_DATA_CONFIG": json.dumps(channels),
        "SM_RESOURCE_CONFIG": json.dumps(HOSTS),
        "SM_HOSTS": json.dumps(HOSTS["hosts"]),
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_NUM_GPUS": "0",
        "SM_INPUT_DIR": str(base / "input"),
        "SM_INPUT_CONFIG_DIR": str(base / "input/config"),
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_OUTPUT_DATA_DIR": str(base / "output/data"),
    }


def _decoded(text: str) -> Any:
    """Return a hyperparameter as SageMaker's toolkit does: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- how it ended --------------------------------------------------------------------------------


def failure_reason(base: Path, log: Path, code: int) -> str:
    """Return the job's own words, with the last line that its stage printed."""
    failure = base / "output/failure"
    if failure.exists():
        said = failure.read_text().strip()
    elif code < 0:
        said = f"the job was killed by {signal.Signals(-code).name}"
    else:
        said = f"the job exited with {code}"
    words = f"AlgorithmError: {said}"
    last = last_line(log)
    room = REASON_CHARACTERS - len(last) - 3
    return f"{words[:room]} | {last}" if last else words[:REASON_CHARACTERS]


def last_line(log: Path) -> str:
    """Return the last line before the job said that it failed."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        text = file.read().decode(errors="replace")
    said = text.rpartition(f"clew: {FAILED}\n")[0] or text
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][-REASON_CHARACTERS // 2 :] if lines else ""


def conclude(folder: Path, **status: Any) -> None:
    """Remove the job's copies of code and data and write the last status; results and log stay."""
    for name in ("code", "tmp", "home"):
        remove(folder / "ml" / name)
    write_status(folder, **status, ended=time.time())


def remove(folder: Path) -> None:
    """Remove a folder in which a job that is just being killed may still write."""
    deadline = time.monotonic() + TERMINATION_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
        shutil.rmtree(folder, ignore_errors=True)


def write_status(folder: Path, **status: Any) -> None:
    temporary = folder / "status.tmp"
    temporary.write_text(json.dumps(status))
    temporary.replace(folder / "status.json")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

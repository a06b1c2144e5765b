"""What `clew run` costs beside the stages' own commands, on the example.

Run: python benchmarks/overhead.py. Works in a throw-away clone. The stages' own time is measured
by a shell that DVC is given (SHELL, passed on to the jobs); the baseline is the same work done by
hand: `dvc repro`, `dvc push`, with MLflow logging from the train stage.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TIMED_SHELL = """\
#!{python}
import os, subprocess, sys, time
started = time.time()
code = subprocess.run(["/bin/sh", *sys.argv[1:]]).returncode
with open({log!r}, "a") as file:
    file.write(f"{{time.time() - started}} {{sys.argv[-1]}}\\n")
sys.exit(code)
"""
IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Benchmark"), ("EMAIL", "benchmark@example.org"))
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = prepare(folder)
        by_hand(work, folder)
        print(f"{'':<41} {'wall s':>8} {'stages s':>9} {'overhead s':>11}")
        report("clew run, everything for the first time", ["clew", "run", "-v"], work, folder)
        change_fraction(work, 0.12)
        report("clew run, the next data version", ["clew", "run", "-v"], work, folder)
        report("clew run, nothing new", ["clew", "run", "-v"], work, folder)


def prepare(folder: Path) -> Path:
    work, shell = folder / "work", folder / "timed-shell"
    log = folder / "stages.log"
    shell.write_text(TIMED_SHELL.format(python=sys.executable, log=str(log)))
    shell.chmod(0o755)
    run("git", "clone", "-q", "--bare", HERE, folder / "origin.git", cwd=folder)
    run("git", "clone", "-q", folder / "origin.git", work, cwd=folder)
    run("git", "checkout", "-q", "-B", "main", cwd=work)
    run("dvc", "remote", "modify", "storage", "url", folder / "storage", cwd=work)
    pipeline = work / "pipeline.yaml"
    executor = "executor: {use: local, local: {pass_env: [SHELL]}}"
    pipeline.write_text(re.sub(r"(?m)^executor:.*(\n .*)*", executor, pipeline.read_text()))
    change_fraction(work, 0.1)
    return work


def change_fraction(work: Path, fraction: float) -> None:
    params = work / "params.yaml"
    params.write_text(re.sub(r"(?m)^(\s+fraction:).*$", rf"\1 {fraction}", params.read_text()))
    run("git", "commit", "-qam", f"Train on {fraction}", cwd=work)
    run("git", "push", "-q", "origin", "main", cwd=work)


def by_hand(work: Path, folder: Path) -> None:
    """Time plain DVC doing the same stages, without lineage, jobs or registry."""
    copy = folder / "by-hand"
    run("git", "clone", "-q", work, copy, cwd=folder)
    report("dvc repro && dvc push, by hand", ["sh", "-c", "dvc repro && dvc push"], copy, folder)
    subprocess.run(["rm", "-rf", folder / "storage"], check=True)


def report(title: str, command: list[str], work: Path, folder: Path) -> None:
    log = folder / "stages.log"
    log.unlink(missing_ok=True)
    started = time.perf_counter()
    shown = run(*command, cwd=work, SHELL=str(folder / "timed-shell"))
    wall = time.perf_counter() - started
    rows = log.read_text().splitlines() if log.exists() else []
    stages = sum(float(row.split()[0]) for row in rows)
    print(f"{title:<41} {wall:>8.1f} {stages:>9.1f} {wall - stages:>11.1f}")
    if "-v" in command:
        print("".join(f"    {line}\n" for line in shown.splitlines() if "clew.timing" in line))


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **IDENTITY, "PATH": path, "DVC_NO_ANALYTICS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()

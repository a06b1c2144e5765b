"""Ctrl-C at a terminal: one question, and whatever the answer, the job's state is known."""

from __future__ import annotations

import sys

from tests.system.sagemaker.cloud import Cloud, until
from tests.terminal import Terminal

SLOW = 120  # seconds that the job stays in Starting: it is stopped before


def at_terminal(cloud: Cloud) -> Terminal:
    command = [sys.executable, "-m", "clew", "run"]
    return Terminal(command, cloud.work, {**cloud.environment, "TERM": "xterm"})


def asked(cloud: Cloud) -> Terminal:
    """Follow the one training job, and press Ctrl-C."""
    terminal = at_terminal(cloud)
    terminal.until("SageMaker: Starting")
    terminal.interrupt()
    terminal.until(f"Stop the job {cloud.jobs()[0]} too? [y/N]:")
    return terminal


def statuses(cloud: Cloud) -> set[str]:
    return {run.info.status for stage in ("run", "train") for run in cloud.runs(stage)}


def test_ctrl_c_at_a_terminal_asks_once_and_leaves_no_unknown_state(cloud: Cloud) -> None:
    cloud.stand.client.slow_start(seconds=SLOW, job=f"{cloud.name}-train-*")
    assert cloud.clew("version").returncode == 0
    assert cloud.clew("run", "--detach").returncode == 0
    (job,) = cloud.jobs()
    terminal = asked(cloud)
    terminal.interrupt()  # instead of an answer
    assert terminal.end() == 130, terminal.shown
    assert f"the job {job} goes on" in terminal.shown
    assert cloud.describe(job)["TrainingJobStatus"] == "InProgress"
    assert statuses(cloud) == {"RUNNING"}
    terminal = asked(cloud)  # attached to a job that another command started
    terminal.type("y\n")
    assert terminal.end() == 130, terminal.shown
    assert "goes on" not in terminal.shown
    until(lambda: cloud.describe(job)["TrainingJobStatus"] == "Stopped")
    assert statuses(cloud) == {"KILLED"}

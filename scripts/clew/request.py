"""What somebody asked to be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clew.identity import CommitSha


@dataclass(frozen=True)
class RunRequest:
    """The commit to run, where its dvc.lock goes, and what differs from the commit."""

    commit: CommitSha
    branch: str | None = None
    trigger: str = "local"  # push | pull_request | dispatch | schedule | local
    actor: str = ""  # who asked, as the CI system names them
    executor: str = ""  # where its jobs run, where not as pipeline.yaml says
    instance: str = ""  # SageMaker's machines, where not those of pipeline.yaml
    reason: str = ""  # why somebody asked for a retraining
    params: Mapping[str, Any] = field(default_factory=dict)  # overrides, `train.lr` -> value
    may_process: bool = True
    reprocess: bool = False  # run the data stages even when dvc.lock is up to date
    dirty: bool = False  # the commit is a snapshot of an uncommitted tree
    detach: bool = False  # start a job, but don't wait for it
    unattended: bool = False  # nobody asked just now: a schedule takes it up
    retry: bool = False  # pay for a job again that failed by its own fault

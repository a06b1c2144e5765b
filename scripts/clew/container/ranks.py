"""The processes of one training: the first of them gives the result, the others help it.

SageMaker starts a job on each of its hosts, torchrun on each host once for each GPU. The first
process of all reproduces the stages by DVC and hands back what they made; the others only run the
same commands beside it, since of what trains together usually one process writes the model.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clew.container.messages import JobError, say
from clew.container.workspace import Layout

POLL_SECONDS = 0.1


def is_first(folders: Layout) -> bool:
    """Tell whether this process gives the job's result."""
    if "RANK" in os.environ:  # by torchrun
        return os.environ["RANK"] == "0"
    config = folders.base / "input/config/resourceconfig.json"
    if not config.exists():
        return True
    hosts = json.loads(config.read_text())
    return bool(hosts["current_host"] == min(hosts["hosts"], key=_number))


def _number(host: str) -> tuple[int, str]:
    return len(host), host  # algo-2 comes before algo-10


@contextlib.contextmanager
def after_the_first(folders: Layout) -> Iterator[None]:
    """Let the first process of a host fill DVC's cache, so that nothing is pulled twice."""
    done = folders.code / ".pulled"
    if os.environ.get("LOCAL_RANK", "0") == "0":
        yield
        done.touch()
        return
    while not done.exists():
        if folders.failure.exists():
            raise JobError("another process of this host failed")
        time.sleep(POLL_SECONDS)
    yield


def help_out(repo: Any, spec: dict[str, Any]) -> None:
    """Run the stages' commands, as far as what they read is there."""
    from dvc.stage.run import cmd_run

    for stage in (stage for name in spec["stages"] for stage in repo.stage.collect(name)):
        lacking = [str(dep) for dep in stage.deps if not Path(dep.fs_path).exists()]
        if lacking:
            say(f"'{stage.name}' is left to the first process: here is no {', '.join(lacking)}")
        elif stage.cmd:
            cmd_run(stage)

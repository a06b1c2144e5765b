"""What a run was asked for where the MLflow run of its job says what another was asked for.

Processing is shared: it knows no params, so runs that differ in them meet at one job. What only the
later ones were asked for would be lost with the command that leaves the job.
"""

from __future__ import annotations

from collections.abc import Mapping

from clew.context import Context
from clew.identity import digest
from clew.lineage import run_tags
from clew.ports import TrackedRun
from clew.request import RunRequest

REQUEST = "request"  # clew.stage of an MLflow run that holds nothing else
WORK = (  # the tags that tell two requests apart
    *("mlflow.source.git.commit", "clew.branch", "clew.params", "clew.executor"),
    "clew.instance",
)


def remember(context: Context, request: RunRequest, run: TrackedRun) -> None:
    """Keep a request in MLflow until its own run is open, unless the job's run says the same."""
    tags = run_tags(context, request)
    if request.trigger == "local" or _work(tags) == _work(run.tags):
        return  # whoever runs clew by hand runs it again
    key = digest(_work(tags))
    context.tracker.claim(REQUEST, key, f"{REQUEST}-{key[:12]}", tags)


def forget(context: Context, request: RunRequest, failure: str = "") -> None:
    """Let go of a request: its own run says the same from now on, or it failed."""
    key = digest(_work(run_tags(context, request)))
    for run in context.tracker.runs({"clew.stage": REQUEST, "clew.key": key}):
        if run.status != "RUNNING":
            continue
        if failure:
            context.tracker.finish(run.id, "FAILED", failure)
        else:
            context.tracker.delete_run(run.id)


def _work(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: tags.get(key, "") for key in WORK}

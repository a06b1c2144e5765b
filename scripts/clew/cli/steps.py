"""`clew run` and its steps: each runs the flow up to its own step and shows the result."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, runs_jobs
from clew.errors import Unverifiable

if TYPE_CHECKING:
    from clew.context import Context
    from clew.flow import Step
    from clew.project import Project
    from clew.request import RunRequest

REFUSED = 1
NAMES = {  # of the steps, as they are commands, by their results
    "Processed": "process",
    "Versioned": "version",
    "Trained": "train",
    "Evaluation": "evaluate",
    "Registered": "register",
}
TIMING = logging.getLogger("clew.timing")


def _command(name: str, summary: str) -> click.Command:
    @click.command(name, help=summary, short_help=summary.splitlines()[0])
    @runs_jobs
    def command(options: Options, **arguments: Any) -> int:
        return _run(options, name, **arguments)

    return command


COMMANDS = [
    _command("run", "Run the whole flow: process, version, train, evaluate, register."),
    _command("process", "Bring the data stages up to date."),
    _command("version", "Keep the data for ever: push, verify, commit, tag."),
    _command("train", "Train on the exact data commit, once per run fingerprint."),
    _command("evaluate", "Hold the metrics against gates and baseline."),
    _command("register", "Register the model version and move its aliases."),
]


def _run(options: Options, until: str, *, dry_run: bool, **arguments: Any) -> int:
    from clew.cli.reporters import reporter
    from clew.cli.summary import summary
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    with reporter() as progress:
        request = _request(project, **arguments, instance=options.instance or "")
        context = open_context(project, options, request.commit, progress)
        if dry_run:
            return _plan(context, request, options, until)
        context.tracker.warm_up()
        done = _steps(context, request, until)
    answer = {name: step.as_json() for name, step in done.items()}
    click.echo(json.dumps(answer, indent=2) if options.json else summary(done))
    refused = "evaluate" in answer and not answer["evaluate"]["passed"]
    consent = answer.get("register", {}).get("consent") or {"verdict": "clean"}
    if consent["verdict"] == "unverifiable":
        return Unverifiable.exit_code
    return REFUSED if refused or consent["verdict"] == "withdrawn" else 0


def _request(
    project: Project,
    *,
    commit: str | None,
    branch: str | None,
    params: tuple[str, ...],
    no_process: bool,
    force: bool,
    allow_dirty: bool,
    detach: bool,
    retry: bool,
    instance: str,
) -> RunRequest:
    from clew.errors import ConfigError
    from clew.fingerprint import parse_overrides
    from clew.request import RunRequest

    repository = project.repository
    head = repository.commit("HEAD")
    if commit and allow_dirty:
        raise ConfigError(
            "--allow-dirty tries out the working tree, --commit names a commit",
            fix="Leave one of them out.",
        )
    wanted = repository.commit(commit) if commit else head
    snapshot = wanted
    if allow_dirty:
        snapshot = repository.snapshot([project.folder or "."])
    if branch is None and wanted == head:
        branch = repository.head_branch()
    return RunRequest(
        commit=snapshot,
        branch=branch,
        params=parse_overrides(params),
        may_process=not no_process,
        reprocess=force,
        dirty=snapshot != wanted,
        detach=detach,
        retry=retry,
        instance=instance,
    )


def _steps(context: Context, request: RunRequest, until: str) -> dict[str, Step]:
    from clew.flow import run

    done: dict[str, Step] = {}
    since = time.perf_counter()
    for step in run(context, request):
        name = NAMES[type(step).__name__]
        done[name] = step
        now = time.perf_counter()
        TIMING.info("%s: %.2f s", name, now - since)
        since = now
        if name == until:
            break
    return done


def _plan(context: Context, request: RunRequest, options: Options, until: str) -> int:
    from clew.plan import plan

    rows = plan(context, request)
    last = next((n for n, row in enumerate(rows) if row.step == until), len(rows) - 1)
    rows = rows[: last + 1]
    if options.json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        for row in rows:
            cost = f"; {row.estimate}" if row.estimate else ""
            click.echo(f"{row.step:<9} {row.action:<8} {row.detail}{cost}")
    return 0

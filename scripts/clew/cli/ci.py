"""`clew ci`, `clew reconcile`, `clew dispatch`: what CI systems start, or people in their place."""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.cli.publishing import SUMMARY, Publisher
from clew.errors import ConfigError, Unverifiable

if TYPE_CHECKING:
    from clew.consent.pending import Kept
    from clew.context import Context
    from clew.ports import Reporter
    from clew.project import Project
    from clew.reconcile import TakenUp
    from clew.report.facts import Report
    from clew.request import RunRequest
    from clew.response import Open, Response
    from clew.trigger.model import Trigger

REFUSED, OUTSIDE = 1, 4


@click.command()
@click.option(
    "--reports", type=click.Path(file_okay=False, path_type=Path), help="A folder for the reports."
)
@shared
def ci(options: Options, reports: Path | None) -> int:
    """Do what this CI system's event asks for.

    A push or dispatch is run, a pull request reported on, a schedule reconciles.

    On SageMaker a job is started and left: the schedule, or `clew reconcile`, goes on with it.
    """
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_project
    from clew.trigger.model import Kind
    from clew.trigger.read import read_trigger

    trigger = read_trigger(os.environ, _event)
    if trigger.kind is Kind.NONE:
        return _nothing(options, trigger.why_nothing)
    project = open_project(options)
    if trigger.kind is Kind.SCHEDULE:
        return _reconcile(options, project, days=7, dry_run=False, reports=reports)
    with reporter() as progress:
        publisher = Publisher(project, options, progress, reports)
        return _respond(options, trigger, _opener(project, options, progress), publisher)


@click.command()
@click.option("--ref", default="", help="A branch, tag, commit or data version; HEAD by default.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="As for `clew run`.")
@click.option("--executor", help="Where jobs run: local or sagemaker.")
@click.option("--instance", metavar="TYPE", help="SageMaker's machines for it: ml.m5.xlarge.")
@click.option("--reason", required=True, help="Why: it stays with the model.")
@shared
def dispatch(options: Options, ref: str, params: tuple[str, ...], reason: str) -> int:
    """Train again by hand, with the reason on record."""
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_project
    from clew.trigger.model import Inputs, Kind, Trigger

    if not reason.strip():
        raise ConfigError("the reason is blank", fix='Say why: --reason "Data drift since May".')
    project = open_project(options)
    repository = project.repository
    asked = Inputs(ref, params, options.executor or "", options.instance or "", reason)
    trigger = Trigger(
        Kind.DISPATCH,
        commit=repository.commit("HEAD"),
        branch=repository.head_branch(),
        actor=_user(),
        inputs=asked,
    )
    with reporter() as progress:
        publisher = Publisher(project, options, progress)
        return _respond(options, trigger, _opener(project, options, progress), publisher)


@click.command()
@click.option("--days", default=7.0, show_default=True, help="How old a branch may be.")
@click.option("--executor", help="Where jobs run: local or sagemaker.")
@click.option("--dry-run", is_flag=True, help="List what is pending, and do nothing.")
@shared
def reconcile(options: Options, days: float, *, dry_run: bool) -> int:
    """Finish runs that were left, and run pushes that lost theirs."""
    from clew.cli.wiring import open_project

    return _reconcile(options, open_project(options), days=days, dry_run=dry_run)


def _opener(project: Project, options: Options, progress: Reporter) -> Open:
    from clew.cli.wiring import open_context, refuse_throwaway

    def open_at(request: RunRequest) -> Context:
        chosen = replace(
            options,
            executor=request.executor or options.executor,
            instance=request.instance or options.instance,
        )
        context = open_context(project, chosen, request.commit, progress)
        refuse_throwaway(context.pipeline)
        return context

    return open_at


def _event(path: str) -> Mapping[str, Any]:
    try:
        event = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the event in GITHUB_EVENT_PATH can't be read: {error}",
            fix="Start clew from GitHub's own event.",
        ) from None
    if not isinstance(event, dict):
        raise ConfigError("the event in GITHUB_EVENT_PATH is no JSON object")
    return event


def _nothing(options: Options, why: str) -> int:
    _say(options, {"nothing": why}, f"nothing to do: {why}")
    return 0


def _user() -> str:
    """Return who runs this; some users, as in containers, have a number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _respond(options: Options, trigger: Trigger, open_at: Open, publisher: Publisher) -> int:
    from clew.ci import respond

    response = respond(publisher.project.repository, open_at, trigger)
    _say(options, _as_json(response), _words(response))
    found = publisher.publish(response, trigger.pull_request, trigger.before)
    if response.error is not None:
        raise response.error
    if trigger.pull_request is not None:
        return _reported(found)
    return REFUSED if response.refused else 0


def _reported(found: Report | None) -> int:
    """Return 2 or 3 for a report that can't say what it should; a refused model is no failure."""
    if found is not None and found.problems:
        return ConfigError.exit_code
    return Unverifiable.exit_code if found is None or found.unread else 0


def _words(response: Response) -> str:
    from clew.cli.steps import NAMES
    from clew.cli.summary import summary

    done = {NAMES[type(step).__name__]: step for step in response.steps}
    lines = [summary(done)] if done else []
    if response.why:
        lines.append(f"nothing to run: {response.why}")
    if response.job:
        lines.append(f"the job {response.job} goes on; the schedule takes it up again")
    if response.error:
        lines.append(f"failed: {response.error.what}")
    return "\n".join(lines)


def _as_json(response: Response) -> dict[str, Any]:
    from clew.cli.steps import NAMES

    return {
        "commit": response.commit,
        "nothing": response.why,
        "job": response.job,
        "error": response.error.what if response.error else "",
        **{NAMES[type(step).__name__]: step.as_json() for step in response.steps},
    }


def _reconcile(
    options: Options, project: Project, *, days: float, dry_run: bool, reports: Path | None = None
) -> int:
    from clew.cli.reporters import reporter
    from clew.reconcile import pending_runs, take_up, told
    from clew.request import RunRequest

    with reporter() as progress:
        open_at = _opener(project, options, progress)
        context = open_at(RunRequest(project.repository.commit("HEAD")))
        found = list(pending_runs(context, open_at, time.time(), days))
        rows = [told(one) if dry_run else take_up(open_at, one) for one in found]
        publisher = Publisher(project, options, progress, reports)
        for row in rows:
            if row.response is not None:
                publisher.publish(row.response)
        consent = None if dry_run else _consent(context)
    lines = [*map(_row, rows)] or ["nothing is pending"]
    _say(
        options,
        {"runs": [row.as_json() for row in rows], "consent": consent and consent.as_json()},
        "\n".join([*lines, *(consent.lines() if consent else ())]),
    )
    return _worst(rows, consent)


def _worst(rows: list[TakenUp], consent: Kept | None) -> int:
    """Return 4 where something failed, 3 where evidence can't be read, else consent's code."""
    if any(row.outcome == "failed" for row in rows):
        return OUTSIDE
    if any(isinstance(row.pending.error, Unverifiable) for row in rows):
        return Unverifiable.exit_code
    return consent.exit_code if consent else 0


def _consent(context: Context) -> Kept | None:
    """Return how the models stand to consent now, None where the pipeline keeps no registry."""
    from clew.consent.pending import kept

    asked = context.pipeline.records and context.pipeline.consent and not context.tracker.is_new()
    return kept(context, datetime.now(UTC)) if asked else None


def _row(row: TakenUp) -> str:
    request = row.pending.request
    where = f"{request.commit[:12]} {request.branch or ''}".rstrip()
    detail = f": {row.detail}" if row.detail else ""
    return f"{row.outcome:<9} {where} ({row.pending.why}){detail}"


def _say(options: Options, document: Any, text: str) -> None:
    """Print an answer, and add it to GitHub's job summary."""
    click.echo(json.dumps(document, indent=2) if options.json else text)
    if path := os.environ.get(SUMMARY):
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # as code, come what may
        with Path(path).open("a") as file:
            file.write(f"\n{indented}\n")


COMMANDS = [ci, dispatch, reconcile]

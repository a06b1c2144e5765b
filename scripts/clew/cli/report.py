"""`clew report`: what a change did to data and model, for a reviewer."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, OutsideError, Unverifiable

if TYPE_CHECKING:
    from clew.identity import CommitSha
    from clew.project import Project
    from clew.report.facts import Report

REFUSED = 1
FORMATS = ("markdown", "html", "json")


@click.command()
@click.option("--base", metavar="REV", help="Compare with this commit, not with the merge base.")
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What to report on.")
@click.option("--executor", help="Where the runs were: it is part of the run fingerprint.")
@click.option("--data-only", is_flag=True, help="Leave MLflow out: configuration and data alone.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@shared
def report(
    options: Options,
    base: str | None,
    head: str,
    output: Path | None,
    form: str,
    *,
    data_only: bool,
) -> int:
    """Say what a change did to data and model.

    Nothing is run: the models of both commits are looked up by their run fingerprints. The base is
    where the head left promotion.branch, or else the commit before the head.
    """
    found = made_report(options, base, head, data_only=data_only)
    text = rendered(found, "json" if options.json else form)
    if output:
        output.write_text(f"{text}\n", encoding="utf-8")
    else:
        click.echo(text)
    return exit_code(found)


def made_report(options: Options, base: str | None, head: str, *, data_only: bool) -> Report:
    """Return the report; Unverifiable where MLflow can't be read and is needed."""
    from clew.cli.reporters import PlainReporter
    from clew.cli.wiring import open_context, open_project
    from clew.report.compare import compare, compare_data
    from clew.report.links import links

    if data_only:
        options = replace(options, executor="local")  # which asks nobody for credentials
    project = open_project(options)
    commit = project.repository.commit(head)
    try:
        context = open_context(project, options, commit, PlainReporter())
    except ConfigError:
        if not data_only:
            raise
        # A broken pipeline.yaml is what this report has to tell, by the base's.
        trusted = project.repository.commit(base or f"{head}^")
        context = open_context(project, options, trusted, PlainReporter())
    before = base_commit(project, base, commit, context.pipeline.promotion.branch)
    uri = "" if data_only else context.pipeline.mlflow.tracking_uri
    at = links(os.environ, project.repository.remote_url(), uri)
    if data_only:
        return compare_data(context, before, commit, at)
    try:
        context.tracker.check(writing=False)
        return compare(context, before, commit, at)
    except OutsideError as error:
        raise Unverifiable(error.what, fix=error.fix) from error


def rendered(found: Report, form: str) -> str:
    """Return the report in one of FORMATS."""
    if form == "json":
        return json.dumps(_finite(found.as_json()), indent=2, allow_nan=False)
    if form == "html":
        from clew.report.html import html

        return html(found)
    from clew.report.markdown import markdown

    return markdown(found)


def _finite(value: Any) -> Any:
    """Return a document without NaN and infinity, which JSON has no words for: null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exit_code(found: Report) -> int:
    """Return 0, 1 for a refused model, 2 for a broken configuration, 3 without a verdict."""
    if found.problems:
        return ConfigError.exit_code
    if found.refused:
        return REFUSED
    return Unverifiable.exit_code if found.unjudged or found.unsure_of_consent else 0


def base_commit(project: Project, base: str | None, head: CommitSha, branch: str) -> CommitSha:
    """Return the named commit, or where the head left the branch, or the commit before it.

    What clew committed on top of a change belongs to that change.
    """
    repository = project.repository
    if base:
        return repository.commit(base)
    before = f"{head}~2" if _is_of_clew(project, head) else f"{head}^"
    for name in (f"origin/{branch}", branch, before):
        try:
            shared_commit = repository.merge_base(repository.commit(name), head)
        except ConfigError:
            continue
        if shared_commit and shared_commit != head:
            return shared_commit
    raise ConfigError(
        f"there is nothing before {head[:12]} to compare it with",
        fix=(
            "This clone is shallow: run `git fetch --unshallow`."
            if repository.shallow_boundary()
            else "Name a commit with --base."
        ),
    )


def _is_of_clew(project: Project, commit: CommitSha) -> bool:
    """Tell whether a commit has the trailer of clew's own (see `clew.version`)."""
    try:
        return project.repository.commit(f"{commit}^{{/Clew-Run: [0-9a-f][0-9a-f]*}}") == commit
    except ConfigError:
        return False


COMMANDS = [report]

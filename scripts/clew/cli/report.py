"""`clew report`: what a change did to data and model, for a reviewer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, OutsideError, Unverifiable

if TYPE_CHECKING:
    from clew.context import Context
    from clew.identity import CommitSha
    from clew.project import Project
    from clew.report.facts import Report

REFUSED = 1
FORMATS = ("markdown", "html", "json")
SEARCHED = 1_000  # commits that are looked through for a pipeline.yaml that is in order


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


def made_report(
    options: Options,
    base: str | None,
    head: str,
    *,
    data_only: bool,
    before: CommitSha | None = None,
) -> Report:
    """Return the report; Unverifiable where MLflow can't be read and is needed.

    `before` is where the branch was before it came to the head, if anybody knows.
    """
    from clew.cli.wiring import open_project
    from clew.report.compare import compare, compare_data
    from clew.report.links import links

    if data_only:
        options = replace(options, executor="local")  # which asks nobody for credentials
    project = open_project(options)
    commit = project.repository.commit(head)
    context = _context(project, options, commit, base, may_be_broken=data_only)
    earlier = base_commit(project, base, commit, context.pipeline.promotion.branch, before)
    uri = "" if data_only else context.pipeline.mlflow.tracking_uri
    at = links(os.environ, project.repository.remote_url(), uri)
    if data_only:
        return compare_data(context, earlier, commit, at)
    try:
        context.tracker.check(writing=False)
        return compare(context, earlier, commit, at)
    except OutsideError as error:
        raise Unverifiable(error.what, fix=error.fix) from error


def _context(
    project: Project, options: Options, commit: CommitSha, base: str | None, *, may_be_broken: bool
) -> Context:
    """Return what to report with: by an earlier pipeline.yaml where telling of a broken one."""
    from clew.cli.reporters import PlainReporter
    from clew.cli.wiring import open_context

    try:
        return open_context(project, options, commit, PlainReporter())
    except ConfigError:
        if may_be_broken:
            for earlier in _earlier(project, commit, base):
                with suppress(ConfigError):
                    return open_context(project, options, earlier, PlainReporter())
        raise


def _earlier(project: Project, commit: CommitSha, base: str | None) -> Iterator[CommitSha]:
    """Yield the base, then the commits before each that changed pipeline.yaml, the newest first."""
    if base:
        yield project.repository.commit(base)
    path = project.path(project.file)
    for entry in islice(project.repository.history(commit, [path]), SEARCHED):
        if path in entry.before and entry.parents:
            yield entry.parents[0]


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


def base_commit(
    project: Project,
    base: str | None,
    head: CommitSha,
    branch: str,
    before: CommitSha | None = None,
) -> CommitSha:
    """Return the named commit, or where the head left the branch, or the commit before it.

    What clew committed on top of a change belongs to that change.
    """
    from clew.changes import made_for

    repository = project.repository
    if base:
        return repository.commit(base)
    names = (f"origin/{branch}", branch, before, f"{made_for(repository, head)}^")
    for name in filter(None, names):
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


COMMANDS = [report]

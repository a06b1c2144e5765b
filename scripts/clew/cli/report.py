"""`clew report`: what a change did to data and model, for a reviewer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, OutsideError, Unverifiable

if TYPE_CHECKING:
    from clew.identity import CommitSha
    from clew.project import Project

REFUSED = 1


@click.command()
@click.option("--base", metavar="REV", help="Compare with this commit, not with the merge base.")
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What to report on.")
@click.option("--executor", help="Where the runs were: it is part of the run fingerprint.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@shared
def report(options: Options, base: str | None, head: str, output: Path | None) -> int:
    """Say what a change did to data and model, in Markdown.

    Nothing is run: the models of both commits are looked up by their run fingerprints. The base is
    where the head left promotion.branch, or else the commit before the head.
    """
    from clew.cli.reporters import PlainReporter
    from clew.cli.wiring import open_context, open_project
    from clew.report.compare import compare
    from clew.report.markdown import markdown

    project = open_project(options)
    commit = project.repository.commit(head)
    context = open_context(project, options, commit, PlainReporter())
    before = (
        project.repository.commit(base)
        if base
        else _base(project, commit, context.pipeline.promotion.branch)
    )
    try:
        context.tracker.check(writing=False)
        found = compare(context, before, commit)
    except OutsideError as error:
        raise Unverifiable(error.what, fix=error.fix) from error
    text = json.dumps(found.as_json(), indent=2) if options.json else markdown(found)
    if output:
        output.write_text(f"{text}\n")
    else:
        click.echo(text)
    refused = found.evaluation is not None and not found.evaluation.passed
    return REFUSED if refused else 0


def _base(project: Project, head: CommitSha, branch: str) -> CommitSha:
    """Return where the head left the branch; on the branch itself the commit before it."""
    repository = project.repository
    for name in (f"origin/{branch}", branch, f"{head}^"):
        try:
            shared_commit = repository.merge_base(repository.commit(name), head)
        except ConfigError:
            continue
        if shared_commit and shared_commit != head:
            return shared_commit
    raise ConfigError(
        f"there is nothing before {head[:12]} to compare it with",
        fix="Name a commit with --base.",
    )


COMMANDS = [report]

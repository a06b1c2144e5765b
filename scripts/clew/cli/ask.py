"""The questions: what a commit resolves to, where a model comes from, is all in order."""

from __future__ import annotations

import json

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, OutsideError, Unverifiable

VERDICT_CODES = {"PASS": 0, "FAIL": 1, "UNVERIFIABLE": Unverifiable.exit_code}


@click.command()
@click.argument("commit", default="HEAD")
@click.option("--executor", help="Where the run would be: it is part of the run fingerprint.")
@shared
def resolve(options: Options, commit: str) -> None:
    """Say which data version and which training a commit stands for.

    COMMIT is any revision; HEAD by default. It goes by dvc.lock as it is committed; whether that is
    current is what `clew run --dry-run` tells.
    """
    from clew.cli.wiring import load_pipeline, open_project
    from clew.conflicts import refuse_unmerged
    from clew.resolve import resolve as resolve_commit

    project = open_project(options)
    sha = project.repository.commit(commit)
    try:
        refuse_unmerged(project)
    except ConfigError as waiting:  # the commit has its answer, a merge beside it or not
        click.echo(f"clew: {waiting}", err=True)
    pipeline = load_pipeline(project, options, sha)
    answer = resolve_commit(
        project, pipeline, sha, executor=pipeline.executor.use, overrides={}
    ).as_json()
    if options.json:
        click.echo(json.dumps(answer, indent=2))
        return
    for key in ("commit", "data_git_commit_id", "data_version", "data_fingerprint"):
        click.echo(f"{key:<19} {answer[key]}")
    click.echo(f"{'run_fingerprint':<19} {answer['run_fingerprint']}")
    for output in answer["outputs"]:
        click.echo(f"{output['path']:<19} {output['hash']} {output['md5']}")


@click.command()
@click.argument("subject", metavar="MODEL")
@shared
def trace(options: Options, subject: str) -> int:
    """Show where a model comes from, or what came from data.

    MODEL is models:/name/3, models:/name@alias, endpoint://name for what is live there, an MLflow
    run id, a data version or a commit.
    """
    from clew.cli.reporters import PlainReporter
    from clew.cli.tree import tree
    from clew.cli.wiring import open_context, open_endpoints, open_project
    from clew.trace import trace as trace_subject
    from clew.trace_endpoint import SCHEME, trace_endpoint

    project = open_project(options)
    head = project.repository.commit("HEAD")
    context = open_context(project, options, head, PlainReporter())
    try:
        context.tracker.check(writing=False)
        if subject.startswith(SCHEME):
            endpoints = open_endpoints(context.pipeline)
            found = trace_endpoint(context, endpoints, subject.removeprefix(SCHEME))
        else:
            found = trace_subject(context, subject)
    except OutsideError as error:
        raise Unverifiable(error.what, fix=error.fix) from error
    click.echo(json.dumps(found.as_json(), indent=2) if options.json else tree(found))
    return VERDICT_CODES[found.verdict]


@click.command()
@shared
def check(options: Options) -> int:
    """Say whether this repository is ready to run, and what to fix."""
    from clew.check import check as check_all
    from clew.cli.reporters import PlainReporter
    from clew.cli.wiring import open_context, open_project
    from clew.request import RunRequest

    project = open_project(options)
    head = project.repository.commit("HEAD")
    context = open_context(project, options, head, PlainReporter())
    results = list(check_all(context, RunRequest(head, project.repository.head_branch())))
    if options.json:
        click.echo(json.dumps([vars(result) for result in results], indent=2))
    else:
        for result in results:
            mark = "ok  " if result.passed else "FAIL"
            click.echo(f"{mark} {result.name:<28} {result.detail}")
            if result.fix:
                click.echo(f"     {result.fix}")
    return 0 if all(result.passed for result in results) else ConfigError.exit_code


COMMANDS = [resolve, trace, check]

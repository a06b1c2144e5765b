"""`clew attribute`: what a difference in metrics comes from, trained where it is not known yet."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError

if TYPE_CHECKING:
    from clew.attribute import Plan
    from clew.context import Context
    from clew.identity import CommitSha


@click.command()
@click.option("--base", metavar="REV", help="Compare with this commit, not with the merge base.")
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What to explain.")
@click.option("--every", is_flag=True, help="Train all combinations, for the Shapley value.")
@click.option("--seeds", type=click.IntRange(0, 100), default=0, help="Train with N other seeds.")
@click.option("--seed-param", metavar="KEY", help="The seed, if its name does not tell.")
@click.option("--executor", help="Where jobs run: local or sagemaker.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and do nothing.")
@click.option("--yes", is_flag=True, help="Don't ask before training.")
@shared
def attribute(
    options: Options,
    base: str | None,
    head: str,
    *,
    every: bool,
    seeds: int,
    seed_param: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Say how much of a difference data, parameters, code and environment account for.

    What is missing is trained: with the data of the head and the rest of the base, then with the
    parameters of the head as well, and so on. No model of these is registered.
    """
    from clew import attribute as steps
    from clew.cli.report import base_commit
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    commit = project.repository.commit(head)
    with reporter() as progress:
        context = open_context(project, options, commit, progress)
        before = base_commit(project, base, commit, context.pipeline.promotion.branch)
        context.tracker.check()

        def at(one: CommitSha) -> Context:
            there = open_context(project, options, one, progress)
            return replace(there, tracker=context.tracker, store=context.store)

        plan = steps.plan(
            context, at, before, commit, every=every, seeds=seeds, seed_param=seed_param
        )
        _show(options, plan, said=not dry_run)
        if not dry_run and _is_wanted(plan, yes=yes):
            if plan.trials:
                steps.run(context, at, plan)
            _answer(options, context, before, commit)


def _show(options: Options, plan: Plan, *, said: bool) -> None:
    """Print the plan: as the answer of a dry run, else beside the answer."""
    from clew.attribute import described

    if options.json:
        if not said:
            click.echo(json.dumps(plan.as_json(), indent=2))
        return
    for line in described(plan.trials, plan.each):
        click.echo(line, err=said)
    if not plan.trials:
        click.echo("nothing to train: at most one part changed", err=said)
    elif plan.missing and plan.each:
        click.echo(f"{len(plan.missing)} trainings, in all {_most(plan)}", err=said)


def _is_wanted(plan: Plan, *, yes: bool) -> bool:
    """Ask before anything is paid for, where there is somebody to ask."""
    count = len(plan.missing)
    if yes or not count:
        return True
    cost = f", in all {_most(plan)}" if plan.each else ""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{count} trainings are missing, and nobody is there to be asked",
            fix="Look at them with --dry-run, then train them with --yes.",
        )
    return click.confirm(f"Run {count} trainings{cost}?", default=False, err=True)


def _most(plan: Plan) -> str:
    """Return what all missing trainings cost at most."""
    from clew.prices import usd

    return "at an unknown cost" if plan.most_usd is None else f"at most {usd(plan.most_usd)}"


def _answer(options: Options, context: Context, base: CommitSha, head: CommitSha) -> None:
    from clew.report.compare import compare
    from clew.report.document import plain
    from clew.report.words import cause, method

    found = compare(context, base, head)
    if options.json:
        click.echo(json.dumps(found.as_json()["attribution"], indent=2))
        return
    click.echo(plain(cause(found), 500))
    if words := method(found):
        click.echo(words)


COMMANDS = [attribute]

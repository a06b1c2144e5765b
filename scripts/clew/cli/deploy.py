"""`clew deploy`, `rollback` and `undeploy`: what is live on an endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared

if TYPE_CHECKING:
    from clew.context import Context
    from clew.serving import Endpoints

ENDPOINT = click.option("--endpoint", required=True, metavar="NAME", help="SageMaker's endpoint.")
EXECUTOR = click.option("--executor", hidden=True, help="Only sagemaker has endpoints.")
OVERRIDE = click.option(
    "--override",
    default="",
    metavar="REASON",
    help="Take a model with withdrawn data all the same; the reason stays with it.",
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.command()
@click.argument("model", metavar="MODEL")
@ENDPOINT
@EXECUTOR
@OVERRIDE
@DRY_RUN
@shared
def deploy(options: Options, model: str, endpoint: str, override: str, *, dry_run: bool) -> None:
    """Bring a model version live on an endpoint, tested, or leave what was live.

    MODEL is models:/name/3 or models:/name@alias.
    """

    def run(context: Context, endpoints: Endpoints) -> Any:
        from clew import deploy as steps

        if dry_run:
            return steps.plan_deploy(context, endpoints, model, endpoint, override)
        return steps.deploy(context, endpoints, model, endpoint, override)

    _answer(options, run)


@click.command()
@ENDPOINT
@EXECUTOR
@OVERRIDE
@DRY_RUN
@shared
def rollback(options: Options, endpoint: str, override: str, *, dry_run: bool) -> None:
    """Bring back what was live on an endpoint before; what is back stays."""

    def run(context: Context, endpoints: Endpoints) -> Any:
        from clew import deploy as steps

        if dry_run:
            return steps.plan_rollback(context, endpoints, endpoint, override)
        return steps.rollback(context, endpoints, endpoint, override)

    _answer(options, run)


@click.command()
@ENDPOINT
@EXECUTOR
@DRY_RUN
@shared
def undeploy(options: Options, endpoint: str, *, dry_run: bool) -> None:
    """Delete an endpoint, and what clew made for it."""

    def run(context: Context, endpoints: Endpoints) -> Any:
        from clew import deploy as steps

        act = steps.plan_undeploy if dry_run else steps.undeploy
        return act(context, endpoints, endpoint)

    _answer(options, run)


def _answer(options: Options, act: Callable[[Context, Endpoints], Any]) -> None:
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_context, open_endpoints, open_project

    project = open_project(options)
    head = project.repository.commit("HEAD")
    with reporter() as progress:
        context = open_context(project, options, head, progress)
        endpoints = open_endpoints(context.pipeline)
        context.tracker.check(writing=False)
        answer = act(context, endpoints).as_json()
    if options.json:
        click.echo(json.dumps(answer, indent=2))
        return
    for key, value in answer.items():
        if value is not None and value != "":
            click.echo(f"{key:<9} {str(value).lower() if isinstance(value, bool) else value}")


COMMANDS = [deploy, rollback, undeploy]

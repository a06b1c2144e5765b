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
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.command()
@click.argument("model", metavar="MODEL")
@ENDPOINT
@EXECUTOR
@DRY_RUN
@shared
def deploy(options: Options, model: str, endpoint: str, *, dry_run: bool) -> None:
    """Bring a model version live on an endpoint, tested, or leave what was live.

    MODEL is models:/name/3 or models:/name@alias.
    """

    def run(context: Context, endpoints: Endpoints) -> Any:
        from clew import deploy as steps

        act = steps.plan_deploy if dry_run else steps.deploy
        return act(context, endpoints, model, endpoint)

    _answer(options, run)


def _on_endpoint(name: str, summary: str) -> click.Command:
    @click.command(name, help=summary)
    @ENDPOINT
    @EXECUTOR
    @DRY_RUN
    @shared
    def command(options: Options, endpoint: str, *, dry_run: bool) -> None:
        def run(context: Context, endpoints: Endpoints) -> Any:
            from clew import deploy as steps

            act = getattr(steps, f"plan_{name}" if dry_run else name)
            return act(context, endpoints, endpoint)

        _answer(options, run)

    return command


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


COMMANDS = [
    deploy,
    _on_endpoint("rollback", "Bring back what was live on an endpoint before."),
    _on_endpoint("undeploy", "Delete an endpoint, and what clew made for it."),
]

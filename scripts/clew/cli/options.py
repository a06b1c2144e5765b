"""Options that several commands share, as one value."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    pipeline: Path
    executor: str | None = None
    instance: str | None = None
    stop_on_interrupt: bool = False
    json: bool = False
    verbose: bool = False


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --pipeline, --json and -v, handed on as `options`."""

    @click.option(
        "--pipeline",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("pipeline.yaml"),
        show_default=True,
        help="The pipeline.yaml to work with.",
    )
    @click.option("--json", is_flag=True, help="Answer in JSON.")
    @click.option("-v", "--verbose", is_flag=True, help="Show commands run, times, tracebacks.")
    @functools.wraps(command)
    def wrapper(**arguments: Any) -> Any:
        names = {field.name for field in fields(Options)} & arguments.keys()
        options = Options(**{name: arguments.pop(name) for name in names})
        if options.verbose:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
            logging.getLogger("clew").setLevel(logging.DEBUG)
        return command(options=options, **arguments)

    return wrapper


RUN_OPTIONS = (
    click.option("--commit", metavar="SHA", help="The commit to run; HEAD by default."),
    click.option("--branch", help="The branch that takes a changed dvc.lock."),
    click.option(
        "--param",
        "params",
        multiple=True,
        metavar="KEY=VALUE",
        help="Train with another value than params.yaml has, such as train.lr=0.1.",
    ),
    click.option("--executor", help="Where jobs run: local or sagemaker."),
    click.option("--instance", metavar="TYPE", help="SageMaker's machines for it: ml.m5.xlarge."),
    click.option("--no-process", is_flag=True, help="Refuse a dvc.lock that is not current."),
    click.option(
        "--force",
        is_flag=True,
        help="Make the data again; train only if it differs.",
    ),
    click.option("--allow-dirty", is_flag=True, help="Try out uncommitted changes."),
    click.option("--retry", is_flag=True, help="Pay once more for a job that failed."),
    click.option("--detach", is_flag=True, help="Start a job and leave; the same again goes on."),
    click.option("--stop-on-interrupt", is_flag=True, help="Stop the job too, without asking."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
)


def runs_jobs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what decides which commit runs, where, and how it differs."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return shared(command)

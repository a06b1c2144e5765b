"""The jobs that a pipeline has on its executor: which there are, what they cost, how they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError, Detached, OutsideError
from clew.redaction import without_secrets

if TYPE_CHECKING:
    from clew.cli.reporters import PlainReporter
    from clew.context import Context
    from clew.orphans import ListedJob
    from clew.ports import Job

DAYS = 7  # that jobs which have ended are shown for
COLUMNS = ("job", "status", "started", "seconds", "cost", "commit", "")


@click.command()
@click.option("--all", "everything", is_flag=True, help=f"Not only those of the last {DAYS} days.")
@click.option("--reap", is_flag=True, help="Stop the running jobs that no run waits for.")
@click.option("--dry-run", is_flag=True, help="With --reap: say which, and stop none.")
@click.option("--executor", help="Where the jobs run: sagemaker.")
@shared
def jobs(options: Options, everything: bool, reap: bool, dry_run: bool) -> int:
    """List the jobs, what they cost, and whether a run waits for them."""
    from clew.cli.reporters import reporter
    from clew.orphans import FAILED, listed_jobs, orphans
    from clew.orphans import reap as reap_all

    if dry_run and not reap:
        raise ConfigError("--dry-run goes with --reap", fix="Without it nothing is stopped.")
    with reporter() as progress:
        context = _context(options, progress)
        if reap:
            found = orphans(context)
            found = found if dry_run else list(reap_all(context, found))
        else:
            start = datetime.now(UTC) - timedelta(days=DAYS)
            found = listed_jobs(context, None if everything else start)
    if options.json:
        click.echo(json.dumps([one.as_json() for one in found], indent=2))
    else:
        click.echo(_table(found) if found else f"no {'orphans' if reap else 'jobs'}")
    return OutsideError.exit_code if any(one.reaped == FAILED for one in found) else 0


@click.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@click.option("--executor", help="Where the jobs run: local or sagemaker.")
@shared
def wait(options: Options, jobs: tuple[str, ...]) -> int:
    """Follow jobs to their ends.

    JOB is the name that `clew run --detach` said. Its results are taken up by the same `clew run`.
    Ctrl-C leaves the jobs working.
    """
    from clew.cli.reporters import reporter
    from clew.ports import JobStatus

    names = list(dict.fromkeys(jobs))
    try:
        with reporter() as progress:
            executor = _context(options, progress).executor
            for name in names:
                if executor.find(name) is None:
                    raise ConfigError(
                        f"there is no job {name} on {executor.name}",
                        fix="`clew jobs` lists them; the name of a model's job is in `clew trace`.",
                    )
            ended = executor.follow(names, lambda line: progress.line(without_secrets(line)))
    except KeyboardInterrupt:
        raise Detached(" ".join(names), interrupted=True) from None
    answers = [_answer(job) for job in ended]
    if options.json:
        click.echo(json.dumps(answers[0] if len(names) == 1 else answers, indent=2))
    else:
        for job in ended:
            named = "" if len(names) == 1 else job.name
            said = named, job.status.value, without_secrets(job.reason)
            click.echo(": ".join(filter(None, said)))
    completed = all(job.status is JobStatus.COMPLETED for job in ended)
    return 0 if completed else OutsideError.exit_code


def _context(options: Options, progress: PlainReporter) -> Context:
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    return open_context(project, options, project.repository.commit("HEAD"), progress)


def _answer(job: Job) -> dict[str, Any]:
    return {"job": job.name, "status": job.status.value, "reason": without_secrets(job.reason)}


def _table(found: Sequence[ListedJob]) -> str:
    rows = [COLUMNS, *(_row(one) for one in found)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(one: ListedJob) -> tuple[str, ...]:
    from clew.prices import usd

    job = one.job
    return (
        job.name,
        job.status.value,
        job.created.strftime("%Y-%m-%d %H:%MZ"),
        f"{job.seconds:.0f}",
        usd(job.cost_usd),
        one.commit[:12],
        ": ".join(filter(None, (one.reaped or one.waits, one.reason))),
    )


COMMANDS = [jobs, wait]

"""`clew doctor`: what to fix before the first job is paid for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clew.doctor import Finding

MARKS = {"ok": "ok  ", "FAIL": "FAIL", "unknown": "?   "}


@click.command()
@click.option("--executor", help="Where jobs will run: local or sagemaker.")
@shared
def doctor(options: Options) -> int:
    """Say what to fix before the first job is paid for.

    All that `clew check` looks at, and for sagemaker the AWS account: credentials, bucket, roles
    and their rights, images, MLflow, quotas. What AWS does not let you see is marked with `?`; it
    is neither in order nor wrong. Nothing is changed.
    """
    from clew.cli.reporters import PlainReporter
    from clew.cli.wiring import open_account, open_project
    from clew.doctor import doctor as examine
    from clew.request import RunRequest

    project = open_project(options)
    head = project.repository.commit("HEAD")
    context, account = open_account(project, options, head, PlainReporter())
    found = examine(context, RunRequest(head, project.repository.head_branch()), account)
    findings = []
    for finding in found:
        findings.append(finding)
        if not options.json:
            _show(finding)
    click.echo(
        json.dumps([vars(f) for f in findings], indent=2) if options.json else sum_up(findings)
    )
    return ConfigError.exit_code if any(f.verdict == "FAIL" for f in findings) else 0


def _show(finding: Finding) -> None:
    said = f"not checked: {finding.detail}" if finding.verdict == "unknown" else finding.detail
    click.echo(f"{MARKS[finding.verdict]} {finding.name:<40} {said}")
    if finding.fix:
        click.echo(f"     {finding.fix}")


def sum_up(findings: Sequence[Finding]) -> str:
    """Return the last line: how many there are of each verdict."""
    verdicts = [str(finding.verdict) for finding in findings]
    counts = {"ok": "in order", "FAIL": "to fix", "unknown": "not checked"}
    return ", ".join(f"{verdicts.count(verdict)} {words}" for verdict, words in counts.items())


COMMANDS = [doctor]

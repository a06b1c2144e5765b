"""`clew consent`: what subjects agree to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.cli.subjects import given
from clew.errors import ConfigError

if TYPE_CHECKING:
    from clew.consent.change import Change
    from clew.consent.registry import Status
    from clew.context import Context

SUBJECT = click.argument("subject_id", metavar="SUBJECT")
PUSH = click.option("--push", is_flag=True, help="Push the branch, which starts the retraining.")
NEW = click.option("--new", is_flag=True, help="Take an id that the registry does not have yet.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.group()
def consent() -> None:
    """Record who agrees to the use of their records."""


def _stating(name: str, status: Status, summary: str) -> click.Command:
    @consent.command(name, help=f"{summary}\n\n`-` reads the subject's id from standard input.")
    @SUBJECT
    @click.option("--reason", default="", help="Kept in the registry.")
    @click.option("--at", "when", metavar="TIME", help="When it was said, with zone; now, if not.")
    @NEW
    @PUSH
    @DRY_RUN
    @shared
    def command(
        options: Options,
        subject_id: str,
        reason: str,
        when: str | None,
        *,
        new: bool,
        push: bool,
        dry_run: bool,
    ) -> None:
        from clew.consent.change import state
        from clew.consent.registry import Statement

        statement = Statement(status, moment(when), reason)
        with _opened(options) as context:
            name = given(subject_id)
            change = state(context, name, statement, dry_run=dry_run, is_new=new)
            _told(options, context, change, push=push and not dry_run)

    return command


_stating("revoke", "revoked", "Exclude a subject's records from what is made from now on.")
_stating("grant", "active", "Let a subject's records be used.")


@consent.command()
@SUBJECT
@shared
def show(options: Options, subject_id: str) -> int:
    """Show what a subject says, and said before."""
    from clew.consent.change import history, present

    subject = given(subject_id)
    with _opened(options) as context:
        now = present(context).get(subject)
        past = [one.as_json() for one in history(context, subject)]
    if options.json:
        status = now.status if now else None
        click.echo(json.dumps({"status": status, "history": past}, indent=2))
        return 0 if now else 1
    said = f"{now.status} since {now.updated_at.isoformat()}" if now else "not in the registry"
    click.echo(said)
    for one in past:
        absent = "not in the registry" if one["readable"] else "the registry can't be read"
        row = (one["time"], one["commit"][:12], one["status"] or absent, one["reason"])
        click.echo("  ".join(filter(None, row)))
    return 0 if now else 1


@consent.command()
@PUSH
@DRY_RUN
@shared
def snapshot(options: Options, *, push: bool, dry_run: bool) -> None:
    """Take the consent database over into the registry in Git."""
    from clew.consent.change import snapshot

    with _opened(options) as context:
        change = snapshot(context, dry_run=dry_run)
        _told(options, context, change, push=push and not dry_run)


def moment(text: str | None) -> datetime:
    """Return a time of the past in UTC, now where none is given; ConfigError for another."""
    now = datetime.now(UTC)
    if text is None:
        return now
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no ISO 8601 time", fix="Such as 2026-03-01T12:00Z."
        ) from error
    if found.tzinfo is None:
        raise ConfigError(f"{text!r} has no time zone", fix=f"Such as {text}Z or {text}+01:00.")
    if found > now:
        raise ConfigError(f"{text!r} is in the future", fix="Say when it was said.")
    return found.astimezone(UTC)


def _told(options: Options, context: Context, change: Change, *, push: bool) -> None:
    if push:
        context.project.repository.push_branch()
    if options.json:
        click.echo(json.dumps({**change.as_json(), "pushed": push}))
        return
    commit = f" as {change.commit[:12]}" if change.commit else ""
    click.echo(f"{change.status}: {change.outcome}{commit}")
    if change.commit and not push:
        click.echo("Push it: the data without this subject and the retraining follow from that.")


@contextmanager
def _opened(options: Options) -> Iterator[Context]:
    from clew.cli.reporters import reporter
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    head = project.repository.commit("HEAD")
    yield open_context(project, options, head, reporter())


COMMANDS = [consent]

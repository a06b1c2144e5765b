"""`clew subject`: the key, the tokens and the vault that keep subjects from being named."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clew.cli.options import Options, shared
from clew.consent.registry import has_control
from clew.errors import ConfigError

if TYPE_CHECKING:
    from clew.context import Context
    from clew.records.tokens import VaultTokens

NEW_VARIABLE = "CLEW_SUBJECT_KEY_NEW"


@click.group()
def subject() -> None:
    """Name subjects by tokens, and forget them."""


@subject.command()
@click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it; what is there is never overwritten.",
)
@click.option("--kms", metavar="KEY", help="Encrypt it under this key of AWS KMS.")
@click.option("--region", help="Of AWS KMS.")
def key(path: Path, kms: str | None, region: str | None) -> None:
    """Make a new subject key."""
    from clew.adapters.kms_key import wrapped
    from clew.records.keys import new_key

    text = new_key()
    if kms:
        text = wrapped(bytes.fromhex(text), kms, region)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists", fix="Name another file, or keep that key.") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    name = "kms_key_file" if kms else "key_file"
    click.echo(f"{path}: a new subject key; name it in pipeline.yaml as records.{name}")
    if not kms:
        click.echo("Keep a copy where it is safe, and none in Git.")


@subject.command()
@click.argument("subject_id", metavar="SUBJECT")
@shared
def token(options: Options, subject_id: str) -> int:
    """Show the token of a subject; `-` reads its id from standard input."""
    _, tokens = _opened(options)
    found = tokens.find(given(subject_id))
    if options.json:
        click.echo(json.dumps({"token": found}))
    else:
        click.echo(found or "The vault has never seen this subject.")
    return 0 if found else 1


@subject.command()
@click.argument("subject_id", metavar="SUBJECT")
@click.option("--dry-run", is_flag=True, help="Say whether there is a salt, and leave it.")
@shared
def forget(options: Options, subject_id: str, dry_run: bool) -> None:
    """Delete the salt of a subject, so that nobody can tell its token ever again.

    The records themselves leave the data by `clew consent revoke` and the next data version.
    """
    _, tokens = _opened(options)
    name = given(subject_id)
    known = tokens.has_salt(name) if dry_run else tokens.forget(name)
    outcome = "nothing to forget" if not known else "would be forgotten" if dry_run else "forgotten"
    if options.json:
        click.echo(json.dumps({"outcome": outcome}))
    else:
        click.echo(f"{outcome}{'' if not known or dry_run else '; now run `clew index build`'}")


@subject.command()
@click.option(
    "--new-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The new key, unless {NEW_VARIABLE} holds it.",
)
@click.option("--dry-run", is_flag=True, help="Say how many keep theirs, and change nothing.")
@shared
def rotate(options: Options, new_key_file: Path | None, *, dry_run: bool) -> None:
    """Put another key in the place of the present one.

    Everybody whom a signed-off manifest names keeps the salt; all tokens change.
    """
    from clew.cli.subject_key import key_in
    from clew.records.keys import parsed
    from clew.records.signed import subjects

    text = os.environ.get(NEW_VARIABLE, "")
    if not text and new_key_file is None:
        raise ConfigError("there is no new key", fix=f"Set {NEW_VARIABLE}, or give --new-key-file.")
    new = parsed(text, NEW_VARIABLE) if text else key_in(new_key_file or Path())
    context, tokens = _opened(options)
    before = tokens.id
    if dry_run:
        kept = tokens.carried(subjects(context))
        shown = json.dumps({"before": before, "now": None, "subjects": kept})
        click.echo(shown if options.json else f"{kept:,} subjects would be under the new key")
        return
    now = tokens.rotated(new, subjects(context))
    if options.json:
        click.echo(json.dumps({"before": before, "now": now.id, "subjects": now.count()}))
    else:
        click.echo(f"{now.count():,} subjects are under the key {now.id}; it was {before}")
        click.echo("Now use the new key everywhere, and run `clew index build`.")


def given(subject_id: str) -> str:
    """Return a subject's id as typed, or from standard input, where no shell remembers it."""
    found = _line(sys.stdin.read()) if subject_id == "-" else subject_id
    if not found or has_control(found) or (not found.isascii() and found != _as_utf8(found)):
        raise ConfigError(
            "this is no subject id: it is empty or has characters that no data may have in one",
            fix="Give one, or `-` and one line of input.",
        )
    return found


def _line(text: str) -> str:
    """Return a line without its end, which on Windows is two characters."""
    return text.removesuffix("\n").removesuffix("\r")


def _as_utf8(text: str) -> str:
    """Return what is left of a text when it is written as UTF-8: bytes of no text are lost."""
    return text.encode(errors="ignore").decode()


def _opened(options: Options) -> tuple[Context, VaultTokens]:
    from clew.cli.reporters import reporter
    from clew.cli.subject_key import open_tokens
    from clew.cli.wiring import open_context, open_project

    project = open_project(options)
    head = project.repository.commit("HEAD")
    context = open_context(project, options, head, reporter())
    return context, open_tokens(context.pipeline, context.workdir)


COMMANDS = [subject]

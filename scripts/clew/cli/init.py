"""`clew init`: what somebody else's DVC repository needs to have clew run in it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clew.cli.options import Options, shared
from clew.errors import ConfigError

if TYPE_CHECKING:
    from clew.init.differences import Difference
    from clew.init.plan import Place, Plan, Questions

DIFFERS = 1
FORGES = ("github", "gitlab", "codecommit", "all", "none")


@click.command()
@click.option("--check", is_flag=True, help="Say what differs from this version, and do nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--force", is_flag=True, help="Replace what was changed by hand, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and do nothing.")
@click.option("--name", help="The pipeline's name.")
@click.option("--forge", type=click.Choice(FORGES), help="Where pushes are run.")
@click.option("--model", metavar="PATH", help="Which output of dvc.yaml is the model.")
@click.option("--source", metavar="OWNER/REPO@SHA", help="Where CI installs clew from.")
@shared
def init(
    options: Options, *, check: bool, yes: bool, force: bool, dry_run: bool, **chosen: str | None
) -> int:
    """Adopt clew in this DVC repository, or bring what it adopted up to date.

    Writes pipeline.yaml, the workflows of your forge and `verify = true` for the DVC remote. What
    is there already is replaced only once its diff was shown.
    """
    from clew.init.differences import write
    from clew.init.plan import Chosen, plan

    place = _place(options)
    planned = plan(place, Chosen(**chosen), _questions(quiet=yes or check))
    _validate(place, planned)
    if not (options.json and (yes or check or dry_run)):
        _print(planned, err=options.json)
    if check or dry_run:
        code = _answer(planned, []) if options.json else _checked(planned)
        return code if check else 0
    wanted = _wanted(planned.files, yes=yes, force=force)
    write(place.top, wanted)
    return _answer(planned, wanted) if options.json else _said(planned, wanted)


COMMANDS = [init]


def _place(options: Options) -> Place:
    from clew.adapters import adoption
    from clew.adapters.dvc_survey import survey, verified
    from clew.cli.wiring import open_project
    from clew.init.plan import Place

    folder = options.pipeline.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {options.pipeline.parent}")
    project = open_project(options)
    repository = project.repository
    top = Path(repository.root)
    if not adoption.has_commit(top):
        raise ConfigError("the Git repository has no commit yet", fix="Commit what you have.")
    _require_stages(folder, top)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    return Place(
        top=top,
        folder=project.folder,
        file=project.file,
        survey=survey(folder, top),
        branch=adoption.default_branch(top) or repository.head_branch() or "main",
        remote_url=adoption.remote_address(top),
        installed=adoption.installed_source(),
        tracking_uri=None if uri and uri.startswith("sqlite:") else uri,
        fix_verify=verified,
    )


def _require_stages(folder: Path, top: Path) -> None:
    from clew.adapters import adoption

    if (folder / "dvc.yaml").is_file():
        return
    if below := adoption.files_below(folder, "dvc.yaml"):
        where = Path(os.path.relpath(folder)) / Path(below[0]).parent / "pipeline.yaml"
        raise ConfigError(
            f"there is no dvc.yaml in {folder}",
            fix=f"There is one below: clew init --pipeline {shlex.quote(where.as_posix())}",
        )
    if not any((one / ".dvc").is_dir() for one in (folder, *folder.parents) if _in(one, top)):
        raise ConfigError(f"{folder} is not in a DVC repository", fix="Run `dvc init`, commit it.")
    raise ConfigError(
        f"there is no dvc.yaml in {folder}",
        fix="Describe your stages with `dvc stage add`, then run `clew init` again.",
    )


def _in(folder: Path, top: Path) -> bool:
    return folder.resolve().is_relative_to(top.resolve())


def _questions(*, quiet: bool) -> Questions:
    from clew.init.plan import Questions

    class Asked(Questions):
        def text(self, question: str, default: str | None) -> str:
            if quiet and default is None:
                raise ConfigError(
                    f"not known: {question}", fix="Say it: clew init --source OWNER/REPO@SHA."
                )
            return default if quiet and default else _prompt(question, default, None)

        def choice(self, question: str, options: list[str], default: str) -> str:
            return default if quiet else _prompt(question, default, click.Choice(options))

    return Asked()


def _prompt(question: str, default: str | None, kind: Any) -> str:
    try:
        return str(click.prompt(question, default=default, type=kind, err=True))
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise ConfigError(
            "there is nobody to ask",
            fix="Run `clew init --yes`; `clew init --help` names the rest.",
        ) from None


def _validate(place: Place, planned: Plan) -> None:
    """Hold the pipeline against the repository as it would be with it."""
    from clew.cli.wiring import open_draft
    from clew.preflight import refuse_unsound
    from clew.request import RunRequest

    context, commit = open_draft(place, planned)
    refuse_unsound(context, RunRequest(commit))


def _wanted(files: Sequence[Difference], *, yes: bool, force: bool) -> list[Difference]:
    from clew.init.differences import SAFE

    safe = [one for one in files if one.state in SAFE]
    risky = [one for one in files if one.differs and one.state not in SAFE]
    if yes or force:
        return safe + (risky if force else [])
    agreed = safe if safe and _confirm("Write what is new or older") else []
    return agreed + [one for one in risky if _confirm(f"Replace {one.path}, changed by hand")]


def _confirm(question: str) -> bool:
    try:
        return click.confirm(question, default="Replace" not in question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise ConfigError("there is nobody to ask", fix="Run `clew init --yes`.") from None


def _checked(planned: Plan) -> int:
    if any(one.differs for one in planned.files):
        return DIFFERS
    click.echo("nothing to do: all is as this version writes it")
    return 0


def _answer(planned: Plan, written: Sequence[Difference]) -> int:
    """Print what was found and done as JSON, and return the exit code."""
    rows = [one.as_json() | {"written": one in written} for one in planned.files]
    click.echo(json.dumps({"files": rows, "notes": planned.notes}, indent=2))
    return DIFFERS if any(one.differs and one not in written for one in planned.files) else 0


def _print(planned: Plan, *, err: bool = False) -> None:
    for one in planned.files:
        click.echo(f"{one.state.value:<8} {one.path}", err=err)
    for one in planned.files:
        if one.diff:
            click.echo(f"\n{one.diff}", nl=False, err=err)
    for note in planned.notes:
        click.echo(f"note: {note}", err=err)


def _said(planned: Plan, written: Sequence[Difference]) -> int:
    left = [one for one in planned.files if one.differs and one not in written]
    for one in written:
        click.echo(f"wrote {one.path}")
    for one in left:
        click.echo(f"clew: {one.path} is left as it is; see its diff", err=True)
    if written:
        paths = " ".join(shlex.quote(one.path) for one in written)
        click.echo(f"Next: git add {paths}; git commit; git push; clew check")
    elif not left:
        click.echo("nothing to do: all is as this version writes it")
    return DIFFERS if left else 0

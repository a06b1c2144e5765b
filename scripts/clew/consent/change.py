"""change: what a subject says now, in the registry and in Git, and what it said before."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clew.consent.current import registry_path
from clew.consent.registry import (
    Statement,
    Statements,
    changed,
    parse,
    refuse_unsafe,
    resembles,
    written,
)
from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.identity import CommitSha

TRAILER = "Clew-Consent"


@dataclass(frozen=True)
class Change:
    """What became of a statement."""

    status: str
    outcome: str  # committed | already so | would be committed
    commit: CommitSha | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Past:
    """A statement as a commit brought it; None: the registry did not have the subject."""

    commit: CommitSha
    time: datetime  # of committing
    statement: Statement | None
    readable: bool = True  # whether the registry was in order, so that what it said is known

    def as_json(self) -> dict[str, Any]:
        said = self.statement
        return {
            "commit": self.commit,
            "time": self.time.isoformat(),
            "status": said.status if said else None,
            "readable": self.readable,
            "updated_at": said.updated_at.isoformat() if said else None,
            "reason": said.reason if said else "",
        }


def state(
    context: Context, subject: str, statement: Statement, *, dry_run: bool, is_new: bool = False
) -> Change:
    """Write what a subject says and commit it; nothing happens where it says so already.

    Raises ConfigError before anything is changed, also for an id that is likely to be mistyped,
    unless `is_new` says that it is not.
    """
    path = registry_path(context)
    refuse_unsafe(subject, statement)
    if context.consent is None and _left_behind(context, path, subject, statement.status):
        return _taken_up(context, path, statement.status, dry_run=dry_run)
    _refuse_uncommitted(context, path)
    file = context.workdir / path
    before = _content(file)
    in_file = parse(before, path)
    everybody = in_file if context.consent is None else context.consent.statements()
    if not is_new:
        _refuse_mistyped(subject, statement, everybody)
    known = everybody.get(subject)
    if known and known.status == statement.status and context.consent is not None:
        return snapshot(context, dry_run=dry_run)  # which a kill may have left behind
    if known and known.status == statement.status:
        return Change(statement.status, "already so")
    after = changed(before, path, subject, statement)
    if dry_run:
        return Change(statement.status, "would be committed")
    if context.consent is not None:
        context.consent.state(subject, statement)
        return snapshot(context, dry_run=False)
    return Change(statement.status, "committed", _stated(context, file, after, statement.status))


def _refuse_mistyped(subject: str, statement: Statement, known: Statements) -> None:
    """Refuse an unknown id where another is likely to be meant: who that is would not be heard."""
    if subject in known:
        return
    fix = "Check how the data spells it; --new takes it as it is."
    if resembles(subject, known):
        raise ConfigError("the registry has another subject whose id looks the same", fix=fix)
    if statement.status == "revoked":
        raise ConfigError("the registry does not know this subject, who never agreed", fix=fix)


def snapshot(context: Context, *, dry_run: bool) -> Change:
    """Write the database's statements to the CSV file and commit it, where it differs."""
    path = registry_path(context)
    if context.consent is None:
        raise ConfigError("consent is kept in no database", fix="See consent.database.")
    _refuse_uncommitted(context, path)
    file = context.workdir / path
    after = written(context.consent.statements())
    parse(after, path)
    if file.exists() and file.read_bytes() == after:
        return Change("snapshot", "already so")
    if dry_run:
        return Change("snapshot", "would be committed")
    commit = _committed(context, file, after, "Take over consent from its database", "snapshot")
    return Change("snapshot", "committed", commit)


def history(context: Context, subject: str) -> Iterator[Past]:
    """Yield what a subject said, the latest first, by the commits that changed it."""
    repository, path = context.project.repository, context.project.path(registry_path(context))
    entries = list(repository.history(repository.commit("HEAD"), [path]))
    commits = [e.commit for e in entries if path in e.before or not e.parents]
    ids = repository.object_ids([(commit, path) for commit in commits])
    texts = repository.blobs({oid for oid in ids if oid})
    said = [_said(texts.get(oid or "", b""), subject) for oid in ids]
    for commit, now, before in zip(commits, said, [*said[1:], (None, True)], strict=True):
        if now != before:
            moment = datetime.fromtimestamp(repository.facts(commit).time, UTC)
            yield Past(commit, moment, *now)


def present(context: Context) -> Statements:
    """Return what holds in the working tree, or in the database."""
    if context.consent is not None:
        return context.consent.statements()
    path = registry_path(context)
    return parse(_content(context.workdir / path), path)


def _said(content: bytes, subject: str) -> tuple[Statement | None, bool]:
    """Return what a registry of the past says of a subject, and whether it can be read."""
    try:
        return (parse(content, "").get(subject) if content else None), True
    except ClewError:
        return None, False


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the consent registry {file} can't be read: {error.strerror}",
            fix="Make it with the line `subject_id,status,updated_at,reason`.",
        ) from error


def _refuse_uncommitted(context: Context, path: str) -> None:
    if context.project.repository.dirty([context.project.path(path)]):
        raise ConfigError(
            f"{path} has changes that are not committed",
            fix=f"Commit them, or take them back with `git restore {path}`.",
        )


def _left_behind(context: Context, path: str, subject: str, status: str) -> bool:
    """Tell whether the file already says this of the subject, and no more than HEAD does besides.

    A command that was killed before its commit leaves that.
    """
    (committed,) = context.read(context.project.repository.commit("HEAD"), path)
    now = _content(context.workdir / path)
    if committed is None or now == committed:
        return False
    try:
        said = parse(now, path).get(subject)
        if said is None or said.status != status:
            return False
        return changed(committed, path, subject, said) == now
    except ConfigError:
        return False


def _taken_up(context: Context, path: str, status: str, *, dry_run: bool) -> Change:
    if dry_run:
        return Change(status, "would be committed")
    file = context.workdir / path
    return Change(status, "committed", _stated(context, file, _content(file), status))


def _stated(context: Context, file: Path, content: bytes, status: str) -> CommitSha:
    verb = "Revoke" if status == "revoked" else "Grant"
    return _committed(context, file, content, f"{verb} a subject's consent", status)


def _committed(context: Context, file: Path, content: bytes, subject: str, what: str) -> CommitSha:
    """Write the file, whole or not at all, and commit it; a refused commit leaves it as it was."""
    before = file.read_bytes() if file.exists() else None
    _replace(file, content)
    path = context.project.path(registry_path(context))
    try:
        return context.project.repository.commit_path(path, f"{subject}\n\n{TRAILER}: {what}\n")
    except ClewError:
        if before is not None:
            _replace(file, before)
        raise


def _replace(file: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
        new.write(content)
    Path(new.name).chmod(file.stat().st_mode if file.exists() else 0o644)
    Path(new.name).replace(file)

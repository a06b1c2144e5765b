"""The consent registry: what each subject has said last."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Protocol, get_args

from clew.errors import ConfigError

Status = Literal["active", "revoked"]
STATUSES: tuple[Status, ...] = get_args(Status)
COLUMNS = ("subject_id", "status", "updated_at", "reason")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula at the start
AHEAD = timedelta(days=1)  # a local time that was written without its zone is up to 14 hours ahead


@dataclass(frozen=True)
class Statement:
    """What one subject has said last."""

    status: Status
    updated_at: datetime  # UTC
    reason: str = ""

    def row(self, subject: str) -> tuple[str, ...]:
        moment = self.updated_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return (subject, self.status, moment, self.reason)


Statements = Mapping[str, Statement]  # by subject id


class Registry(Protocol):
    """Where consent is kept besides the CSV file in Git: a table of a database."""

    def statements(self) -> Statements:
        """Return what holds now; ConfigError for what is broken, Unverifiable when out of reach."""

    def state(self, subject: str, statement: Statement) -> None:
        """Put what a subject says in the place of what it said before."""


class _Line(NamedTuple):
    """A row of the file, and which of its physical lines it takes."""

    start: int  # from 0
    end: int
    fields: list[str]


def parse(content: bytes, path: str) -> dict[str, Statement]:
    """Return the statements of a registry; ConfigError names the line that is wrong."""
    found: dict[str, Statement] = {}
    for line in _lines(content, path):
        subject, statement = line.fields[0], _statement(line, path)
        if found.setdefault(subject, statement).status != statement.status:
            raise _broken(path, line, "the same subject has another status further up")
        if found[subject].updated_at <= statement.updated_at:
            found[subject] = statement
    return found


def changed(content: bytes, path: str, subject: str, statement: Statement) -> bytes:
    """Return the registry with one subject's statement; every other byte stays as it is."""
    parse(content, path)
    refuse_unsafe(subject, statement)
    lines = _physical(content.decode())
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    width = len(next(csv.reader(lines[:1])))
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerow(statement.row(subject)[:width])
    rows = [line for line in _lines(content, path) if line.fields[0] == subject]
    if not rows:
        joint = "" if lines[-1].endswith("\n") else end
        return f"{content.decode()}{joint}{text.getvalue()}".encode()
    for line in reversed(rows):
        lines[line.start : line.end] = [text.getvalue()] if line is rows[0] else []
    return "".join(lines).encode()


def written(statements: Statements) -> bytes:
    """Return a registry of these statements, sorted by subject: the same ones, the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(statements[subject].row(subject) for subject in sorted(statements))
    return text.getvalue().encode()


def refuse_unsafe(subject: str, statement: Statement) -> None:
    """Refuse an id that could not be kept as it is, and a reason that a spreadsheet would run.

    An id is the data's own: a phone number begins with a plus, and whoever has it may revoke.
    """
    if not subject or has_control(subject):
        raise ConfigError("a subject id is empty or has control characters", fix="Give another.")
    if statement.reason.startswith(FORMULAS) or not statement.reason.isprintable():
        raise ConfigError(
            "the reason begins as a formula does in a spreadsheet, or has several lines",
            fix="Begin it with a letter and keep it to one line.",
        )


def has_control(text: str) -> bool:
    """Tell whether a text has control characters, which no sound manifest has in an id."""
    return any(unicodedata.category(char) == "Cc" for char in text)


def is_ahead(moment: datetime) -> bool:
    """Tell whether a time is so far in the future that nobody can have said something then."""
    return moment > datetime.now(UTC) + AHEAD


def folded(subject: str) -> str:
    """Return what a subject's id has in common with those that look the same."""
    return unicodedata.normalize("NFKC", subject).strip().casefold()


def resembles(subject: str, others: Iterable[str]) -> bool:
    """Tell whether one of other ids looks the same as this one."""
    own = folded(subject)
    return any(folded(other) == own for other in others if other != subject)


def merged(*sources: Statements) -> dict[str, Statement]:
    """Return what holds where several registries are in force: revoked in one is revoked."""
    whole: dict[str, Statement] = {}
    for source in sources:
        for subject, statement in source.items():
            if subject not in whole or statement.status == "revoked":
                whole[subject] = statement
    return whole


def _physical(text: str) -> list[str]:
    """Return the lines with their ends; no other character than CSV's own ends one."""
    return list(io.StringIO(text, newline=""))


def _lines(content: bytes, path: str) -> Iterator[_Line]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{number}: not UTF-8", fix="Save it as UTF-8.") from error
    reader = csv.reader(_physical(text), strict=True)
    try:
        header = tuple(next(reader, ()))
        if header not in (COLUMNS, COLUMNS[:3]):
            raise ConfigError(
                f"{path}:1: the columns are not {','.join(COLUMNS)}", fix="Correct its first line."
            )
        start = reader.line_num
        for fields in reader:
            line = _Line(start, reader.line_num, fields)
            if len(fields) != len(header):
                found = f"{len(fields)} fields instead of {len(header)}"
                raise _broken(path, line, found)
            yield line
            start = reader.line_num
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: {error}", fix="Correct that line.") from error


def _statement(line: _Line, path: str) -> Statement:
    subject, status, moment, *reason = line.fields
    if not subject:
        raise _broken(path, line, "it has no subject_id")
    if has_control(subject):
        raise _broken(path, line, "its subject_id has control characters")
    if status not in STATUSES:
        raise _broken(path, line, f"unknown status; allowed: {', '.join(STATUSES)}")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError as error:
        raise _broken(path, line, "updated_at is no ISO 8601 time") from error
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    if is_ahead(at):
        raise _broken(path, line, "updated_at is in the future")
    return Statement(status, at, "".join(reason))


def _broken(path: str, line: _Line, why: str) -> ConfigError:
    # The line's text would name a person.
    return ConfigError(f"{path}:{line.start + 1}: {why}", fix="Correct that line.")

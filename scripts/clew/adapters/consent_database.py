"""SQLAlchemy: the consent registry as a table of any database that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from clew.consent.registry import STATUSES, Registry, Statement, has_control, is_ahead
from clew.errors import ConfigError, Unverifiable
from clew.redaction import without_secrets

COLUMNS = ("subject_id", "status", "updated_at", "reason")


class ConsentDatabase(Registry):
    """One row for each subject: subject_id, status, updated_at, reason."""

    def __init__(self, url: str | None, variable: str, table: str) -> None:
        self._url, self._variable, self._name = url, variable, table

    def statements(self) -> dict[str, Statement]:
        from sqlalchemy import select

        found: dict[str, Statement] = {}
        with self._connected() as (connection, table):
            rows = connection.execute(select(*(table.c[name] for name in COLUMNS)))
            for number, (subject, status, moment, reason) in enumerate(rows, start=1):
                if subject in (None, "") or str(subject) in found:
                    raise self._broken(number, "it has no subject_id, or one that came before")
                if has_control(str(subject)):
                    raise self._broken(number, "its subject_id has control characters")
                if status not in STATUSES:
                    raise self._broken(number, f"unknown status; allowed: {', '.join(STATUSES)}")
                at = self._moment(moment, number)
                found[str(subject)] = Statement(status, at, reason or "")
        return found

    def state(self, subject: str, statement: Statement) -> None:
        values = {
            "status": statement.status,
            "updated_at": statement.updated_at,
            "reason": statement.reason,
        }
        with self._connected() as (connection, table):
            if self._is_text(table):
                values["updated_at"] = statement.updated_at.isoformat()
            of_subject = table.c.subject_id == subject
            if not connection.execute(table.update().where(of_subject).values(values)).rowcount:
                connection.execute(table.insert().values(values | {"subject_id": subject}))

    def _is_text(self, table: Any) -> bool:
        from sqlalchemy import String

        return isinstance(table.c.updated_at.type, String)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, Any]]:
        """Give a transaction and the table."""
        from sqlalchemy import MetaData, Table, create_engine
        from sqlalchemy.exc import (
            ArgumentError,
            NoSuchModuleError,
            OperationalError,
            SQLAlchemyError,
        )

        if not self._url:
            raise ConfigError(
                f"consent is kept in a database, and {self._variable} does not say where",
                fix=f"Set {self._variable} to its SQLAlchemy URL.",
            )
        schema, _, name = self._name.rpartition(".")
        try:
            engine = create_engine(self._url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                f"the URL of the consent database can't be used: {without_secrets(str(error))}",
                fix="Write it as SQLAlchemy does, and install its driver.",
            ) from error
        try:
            with engine.begin() as connection:
                table = Table(name, MetaData(), autoload_with=connection, schema=schema or None)
                if missing := [column for column in COLUMNS if column not in table.c]:
                    raise ConfigError(f"the table {self._name} has no column {missing[0]}")
                yield connection, table
        except SQLAlchemyError as error:
            # What a database says of a value may be the value, which names a person.
            plain = str(error.orig) if isinstance(error, OperationalError) else type(error).__name__
            said = without_secrets(plain)
            raise Unverifiable(
                f"the consent database can't be used: {said.splitlines()[0]}",
                fix=f"Check that it is up and has the table {self._name}.",
            ) from error
        finally:
            engine.dispose()

    def _moment(self, value: Any, number: int) -> datetime:
        try:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError as error:
            raise self._broken(number, "updated_at is no ISO 8601 time") from error
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        if is_ahead(at):
            raise self._broken(number, "updated_at is in the future")
        return at

    def _broken(self, number: int, why: str) -> ConfigError:
        return ConfigError(f"row {number} of the table {self._name}: {why}", fix="Correct it.")

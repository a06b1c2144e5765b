"""The vault of salts: a SQLite file that only its owner may read."""

from __future__ import annotations

import functools
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.records.tokens import Vault

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS salts (lookup BLOB PRIMARY KEY, salt BLOB NOT NULL) WITHOUT ROWID;
"""
WAIT_SECONDS = 60.0  # for another command that writes
PARAMETERS = 900  # in one statement

Returned = TypeVar("Returned")


def _translated(method: Callable[..., Returned]) -> Callable[..., Returned]:
    """Turn SQLite's errors into ones that say which file it is."""

    @functools.wraps(method)
    def wrapper(self: SqliteVault, *arguments: Any) -> Returned:
        try:
            return method(self, *arguments)
        except (sqlite3.Error, OSError) as error:
            raise Unverifiable(
                f"the vault {self.path} can't be used: {error}",
                fix="Restore it from its backup: nobody can tell whose a token is without it.",
            ) from error

    return wrapper


class SqliteVault(Vault):
    """Several commands may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bound = ""  # the key that it was claimed for

    @_translated
    def claim(self, key_id: str) -> str:
        new = [("key", key_id), ("id", secrets.token_hex(4))]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", new)
            meta = dict(database.execute("SELECT name, value FROM meta"))
        bound = meta["key"]
        self._bound = key_id
        if bound != key_id:
            raise Unverifiable(
                f"the vault {self.path} belongs to the subject key {bound}, not to {key_id}",
                fix="Use that key; another one is put in its place by `clew subject rotate`.",
            )
        return str(meta["id"])

    @_translated
    def count(self) -> int:
        with self._open() as database:
            return int(database.execute("SELECT count(*) FROM salts").fetchone()[0])

    @_translated
    def salts(self, lookups: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with self._open() as database:
            self._hold_to_key(database)
            for start in range(0, len(lookups), PARAMETERS):
                part = lookups[start : start + PARAMETERS]
                marks = ",".join("?" * len(part))
                query = f"SELECT lookup, salt FROM salts WHERE lookup IN ({marks})"  # noqa: S608
                found.update(database.execute(query, part))
        return found

    @_translated
    def add(self, salts: Mapping[bytes, bytes]) -> None:
        with self._open() as database:
            self._hold_to_key(database)
            database.executemany("INSERT OR IGNORE INTO salts VALUES (?, ?)", sorted(salts.items()))

    @_translated
    def forget(self, lookup: bytes) -> bool:
        with self._open() as database:
            self._hold_to_key(database)
            query = "UPDATE salts SET salt = x'' WHERE lookup = ? AND salt <> x''"
            changed = database.execute(query, (lookup,)).rowcount
        with self._open() as database:  # a copy of the salt must not stay behind in the WAL
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OutsideError(
                f"the salt is deleted, but another command reads {self.path}, which still holds it",
                fix="Run the same command again when that one has ended.",
            )
        return changed > 0

    @_translated
    def rebind(self, lookups: Mapping[bytes, bytes], key_id: str) -> None:
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")  # a salt that is deleted meanwhile stays deleted
            self._hold_to_key(database)
            salts = dict(database.execute("SELECT lookup, salt FROM salts"))
            rows = sorted((new, salts[old]) for old, new in lookups.items() if old in salts)
            database.execute("DELETE FROM salts")
            database.executemany("INSERT INTO salts VALUES (?, ?)", rows)
            database.execute("UPDATE meta SET value = ? WHERE name = 'key'", (key_id,))
        self._bound = key_id

    def _hold_to_key(self, database: sqlite3.Connection) -> None:
        """Refuse to go on after another command has put another key in place."""
        (key,) = database.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        if key != self._bound:
            raise Unverifiable(
                f"the vault {self.path} was given another key meanwhile", fix="Use the new key."
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction, which is whole or did not happen."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"the vault {self.path} may be read by others than its owner (mode {mode:o})",
                fix=f"chmod 600 {self.path}",
            )
        database = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA secure_delete = ON")
            database.executescript(SCHEMA)
            with database:
                yield database
        finally:
            database.close()

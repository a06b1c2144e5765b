"""The vault of salts: a SQLite file that only its owner may read."""

from __future__ import annotations

import functools
import itertools
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from clew.adapters import sums
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.records.tokens import Vault

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS salts (lookup BLOB PRIMARY KEY, salt BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
{sums.TABLE.format("blocks")}
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
            if not database.execute("SELECT 1 FROM generations").fetchone():
                _sum_up(database)
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
    def generation(self) -> str:
        with self._open() as database:
            query = "SELECT id FROM generations ORDER BY number DESC"
            return str(database.execute(query).fetchone()[0])

    @_translated
    def generations(self) -> Set[str]:
        with self._open() as database:
            return {name for (name,) in database.execute("SELECT id FROM generations")}

    @_translated
    def salt(self, lookup: bytes) -> bytes | None:
        block = sums.block_of(lookup)
        with self._open() as database:
            self._hold_to_key(database)
            query = "SELECT lookup, salt FROM salts WHERE lookup BETWEEN ? AND ?"
            salts = dict(database.execute(query, sums.ends_of(block)))
            marks = itertools.starmap(sums.mark, salts.items())
            if not sums.holds(database, "blocks", (block, block), marks):
                raise sqlite3.DatabaseError("salts are missing or were changed")
        return salts.get(lookup)

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
            database.execute("BEGIN IMMEDIATE")  # what another command adds meanwhile stays
            self._hold_to_key(database)
            new = [row for row in sorted(salts.items()) if not _has(database, row[0])]
            database.executemany("INSERT INTO salts VALUES (?, ?)", new)
            sums.add(database, "blocks", map(_marked, new))
            _begin_generation(database)

    @_translated
    def forget(self, lookup: bytes) -> bool:
        with self._open() as database:
            self._hold_to_key(database)
            database.execute("BEGIN IMMEDIATE")
            query = "SELECT salt FROM salts WHERE lookup = ? AND salt <> x''"
            there = database.execute(query, (lookup,)).fetchone()
            database.execute("UPDATE salts SET salt = x'' WHERE lookup = ?", (lookup,))
            if there:
                old, new = sums.mark(lookup, *there), sums.mark(lookup, b"")
                sums.change(database, "blocks", sums.block_of(lookup), old, new)
        with self._open() as database:  # a copy of the salt must not stay behind in the WAL
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OutsideError(
                f"the salt is deleted, but another command reads {self.path}, which still holds it",
                fix="Run the same command again when that one has ended.",
            )
        return there is not None

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
            _sum_up(database)
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


def _sum_up(database: sqlite3.Connection) -> None:
    """Make the sums anew from the salts."""
    database.execute("DELETE FROM blocks")
    every = ((number, 0, 0) for number in range(sums.BLOCKS))
    database.executemany("INSERT INTO blocks VALUES (?, ?, ?)", every)
    sums.add(database, "blocks", map(_marked, database.execute("SELECT * FROM salts").fetchall()))
    _begin_generation(database)


def _begin_generation(database: sqlite3.Connection) -> None:
    """Give the vault a new name, which no copy of what it was has, whatever is added to that."""
    insert = "INSERT INTO generations (id) VALUES (?)"
    database.execute(insert, (secrets.token_hex(8),))


def _marked(row: tuple[bytes, bytes]) -> tuple[int, int]:
    return sums.block_of(row[0]), sums.mark(*row)


def _has(database: sqlite3.Connection, lookup: bytes) -> bool:
    query = "SELECT 1 FROM salts WHERE lookup = ?"
    return database.execute(query, (lookup,)).fetchone() is not None

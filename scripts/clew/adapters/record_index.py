"""SQLite: the index, as intervals.

What is still there in the newest data version is in `open`. What is closed lies in segments: tables
that are written once, in order, and merged when there are many of one size, as in a log-structured
merge tree (https://www.cs.umb.edu/~poneil/lsmtree.pdf): a data version is appended, not scattered
over gigabytes, and a look-up is one seek in each of a few tables. Each subject has the number and
the sum of its intervals beside its token, so rows that are lost or changed are found out.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from clew.errors import Unverifiable
from clew.identity import CommitSha
from clew.records.index import IndexedModel, IndexedVersion, Interval, Joining, RecordIndex
from clew.records.tokens import Token

FORMAT = 1
FAN = 16  # segments of one level, before they are merged into one of the next
SUM = 1 << 62  # sums stay below it, within SQLite's integers
SPREAD = 2_654_435_761  # so that the ends of two intervals don't make up for each other
STATEMENTS = 1_024  # that Python keeps prepared
WAIT_SECONDS = 60.0
FIX = "Make it anew from the manifests: clew index build"
SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (number INTEGER PRIMARY KEY, entry TEXT, at TEXT, facts TEXT, problem TEXT);
CREATE TABLE models (entry TEXT, at TEXT, number INTEGER, uri TEXT, run_id TEXT,
  PRIMARY KEY (number, at, entry)) WITHOUT ROWID;
CREATE TABLE subjects (id INTEGER PRIMARY KEY, token BLOB NOT NULL UNIQUE,
  intervals INTEGER NOT NULL DEFAULT 0, marks INTEGER NOT NULL DEFAULT 0);
CREATE TABLE splits (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE open (record TEXT PRIMARY KEY, subject INTEGER NOT NULL, split INTEGER NOT NULL,
  first INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX open_by_subject ON open (subject);
CREATE TABLE segments (id INTEGER PRIMARY KEY, level INTEGER NOT NULL);
"""
SEGMENT = """CREATE TABLE closed_{} (subject INTEGER, first INTEGER, record TEXT, split INTEGER,
  last INTEGER, PRIMARY KEY (subject, first, record)) WITHOUT ROWID"""


class SqliteIndex(RecordIndex):
    """One file; any number of commands may read while one writes."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._create = create

    # --- questions ---------------------------------------------------------------------------

    def head(self) -> CommitSha | None:
        found = self._meta("head")
        return CommitSha(found) if found else None

    def tokens_id(self) -> str:
        return self._meta("tokens")

    def subjects(self) -> int:
        with self._reading() as database:
            return int(database.execute("SELECT count(*) FROM subjects").fetchone()[0])

    def versions(self) -> list[IndexedVersion]:
        with self._reading() as database:
            rows = database.execute("SELECT * FROM versions ORDER BY number").fetchall()
            found = [_version(row) for row in rows]
        if self._meta("versions") != _chain(rows):
            raise self._damaged("its list of data versions was changed")
        return found

    def find(self, token: Token) -> list[Interval]:
        with self._reading() as database:
            query = "SELECT id, intervals, marks FROM subjects WHERE token = ?"
            row = database.execute(query, (bytes.fromhex(token),)).fetchone()
            if row is None:
                return []
            subject, count, marks = row
            newest = self._newest(database)
            rows = list(self._rows(database, subject))
            splits = dict(database.execute("SELECT id, name FROM splits"))
        unnamed = {split for _, _, split, _ in rows} - splits.keys()
        if unnamed or (count, marks) != (len(rows), _sum(rows)):
            raise self._damaged("intervals of this subject are missing or were changed")
        found = [
            Interval(record, splits[split], first, newest if last is None else last)
            for record, first, split, last in rows
        ]
        return sorted(found, key=lambda one: (one.first, one.record))

    def models(self, numbers: Sequence[tuple[int, int]]) -> list[IndexedModel]:
        query = "SELECT * FROM models WHERE number BETWEEN ? AND ? ORDER BY number, at, entry"
        with self._reading() as database:
            rows = (row for pair in numbers for row in database.execute(query, pair))
            return list(map(IndexedModel._make, rows))

    def unplaced(self) -> list[IndexedModel]:
        """Return the models whose data version the log does not have."""
        with self._reading() as database:
            query = "SELECT * FROM models WHERE number = 0"
            return list(map(IndexedModel._make, database.execute(query)))

    # --- taking in -----------------------------------------------------------------------------

    def begin(self, tokens_id: str) -> None:
        bound = self.tokens_id()
        if bound not in ("", tokens_id):
            raise Unverifiable(
                f"the index {self.path} was built with the key and vault {bound}, not {tokens_id}",
                fix=FIX,
            )
        if not bound:
            with self._writing() as database:
                _set(database, "tokens", tokens_id)

    def add_version(
        self, version: IndexedVersion, leaving: Iterable[str], joining: Iterable[Joining]
    ) -> None:
        with self._writing() as database:
            self._close(database, version.number - 1, leaving)
            self._join(database, version.number, joining)
            facts = json.dumps(dict(version.facts), sort_keys=True)
            moment = version.at.isoformat()
            row = (version.number, version.entry, moment, facts, version.problem)
            database.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", row)
            _set(database, "versions", _next(_get(database, "versions"), row))
            _set(database, "head", version.entry)

    def tidy(self) -> None:
        """Merge segments where there are many of one size, as each look-up goes through all."""
        while level := self._full_level():
            self._merge(*level)

    def add_model(self, model: IndexedModel) -> None:
        with self._writing() as database:
            database.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", model)
            _set(database, "head", model.entry)

    def _close(self, database: sqlite3.Connection, last: int, leaving: Iterable[str]) -> None:
        query = "DELETE FROM open WHERE record = ? RETURNING subject, first, record, split"
        rows = [row for one in leaving for row in database.execute(query, (one,))]
        if not rows:
            return
        segment = self._new_segment(database, 0)
        insert = f"INSERT INTO closed_{segment} VALUES (?, ?, ?, ?, ?)"  # noqa: S608
        database.executemany(insert, ((*row, last) for row in sorted(rows)))
        query = "UPDATE subjects SET marks = (marks + ?) % ? WHERE id = ?"
        database.executemany(query, ((closing(last), SUM, row[0]) for row in rows))

    def _join(self, database: sqlite3.Connection, first: int, joining: Iterable[Joining]) -> None:
        rows = list(joining)
        tokens = {row.token for row in rows}
        known = "INSERT OR IGNORE INTO subjects (token) VALUES (?)"
        database.executemany(known, ((bytes.fromhex(token),) for token in sorted(tokens)))
        query = "SELECT id FROM subjects WHERE token = ?"
        ids = {t: database.execute(query, (bytes.fromhex(t),)).fetchone()[0] for t in tokens}
        names = [(name,) for name in sorted({row.split for row in rows})]
        database.executemany("INSERT OR IGNORE INTO splits (name) VALUES (?)", names)
        splits = {name: number for number, name in database.execute("SELECT * FROM splits")}
        new = sorted((row.record, ids[row.token], splits[row.split], first) for row in rows)
        database.executemany("INSERT INTO open VALUES (?, ?, ?, ?)", new)
        query = (
            "UPDATE subjects SET intervals = intervals + 1, marks = (marks + ?) % ? WHERE id = ?"
        )
        marks = ((opening(record, first, split), SUM, subject) for record, subject, split, _ in new)
        database.executemany(query, marks)

    # --- segments ------------------------------------------------------------------------------

    def _new_segment(self, database: sqlite3.Connection, level: int) -> int:
        made = database.execute("INSERT INTO segments (level) VALUES (?)", (level,)).lastrowid
        database.execute(SEGMENT.format(made))
        return int(made or 0)

    def _full_level(self) -> tuple[int, list[int]] | None:
        with self._reading() as database:
            rows = database.execute("SELECT level, id FROM segments ORDER BY level, id").fetchall()
        for level in sorted({level for level, _ in rows}):
            members = [segment for one, segment in rows if one == level]
            if len(members) >= FAN:
                return level, members
        return None

    def _merge(self, level: int, members: Sequence[int]) -> None:
        every = " UNION ALL ".join(f"SELECT * FROM closed_{one}" for one in members)  # noqa: S608
        with self._writing() as database:
            merged = self._new_segment(database, level + 1)
            database.execute(f"INSERT INTO closed_{merged} {every} ORDER BY 1, 2, 3")
            for one in members:
                database.execute(f"DROP TABLE closed_{one}")
                database.execute("DELETE FROM segments WHERE id = ?", (one,))

    def _rows(
        self, database: sqlite3.Connection, subject: int
    ) -> Iterator[tuple[str, int, int, int | None]]:
        """Yield record, first, split and last of each interval; the open have no last."""
        for (segment,) in database.execute("SELECT id FROM segments").fetchall():
            query = f"SELECT record, first, split, last FROM closed_{segment} WHERE subject = ?"  # noqa: S608
            yield from database.execute(query, (subject,))
        query = "SELECT record, first, split, NULL FROM open WHERE subject = ?"
        yield from database.execute(query, (subject,))

    # --- the file ------------------------------------------------------------------------------

    @cached_property
    def _database(self) -> sqlite3.Connection:
        if not self._create and not self.path.exists():
            raise Unverifiable(f"there is no index {self.path}", fix=FIX)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(
            self.path, WAIT_SECONDS, isolation_level=None, cached_statements=STATEMENTS
        )
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found == 0 and self._create:
            self.path.chmod(0o600)
            database.executescript(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;"
                f"{SCHEMA} COMMIT;"
            )
        elif found != FORMAT:
            raise self._damaged(f"its format is {found} instead of {FORMAT}")
        database.executescript(
            "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;"
            " PRAGMA mmap_size = 4294967296; PRAGMA temp_store = FILE"
        )
        return database

    def close(self) -> None:
        """Write everything into the one file, and let go of it."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()
        del self._database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._database
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise self._damaged(str(error)) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _meta(self, name: str) -> str:
        with self._reading() as database:
            return _get(database, name)

    def _newest(self, database: sqlite3.Connection) -> int:
        return int(database.execute("SELECT coalesce(max(number), 0) FROM versions").fetchone()[0])

    def _damaged(self, why: str) -> Unverifiable:
        return Unverifiable(f"the index {self.path} is damaged: {why}", fix=FIX)


def _get(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _set(database: sqlite3.Connection, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def opening(record: str, first: int, split: int) -> int:
    """Return what an interval adds to its subject's sum."""
    return crc32(f"{first},{split},{record}".encode())


def closing(last: int) -> int:
    """Return what its end adds."""
    return (last + 1) * SPREAD


def _sum(rows: Iterable[tuple[str, int, int, int | None]]) -> int:
    total = 0
    for record, first, split, last in rows:
        total += opening(record, first, split)
        total += 0 if last is None else closing(last)
    return total % SUM


def _next(chain: str, row: Sequence[object]) -> str:
    return sha256(f"{chain}{json.dumps(list(row))}".encode()).hexdigest()


def _chain(rows: Iterable[Sequence[object]]) -> str:
    chain = ""
    for row in rows:
        chain = _next(chain, row)
    return chain


def _version(row: Sequence[object]) -> IndexedVersion:
    number, entry, at, facts, problem = map(str, row)
    moment = datetime.fromisoformat(at)
    return IndexedVersion(int(number), CommitSha(entry), moment, json.loads(facts), problem)

"""SQLite: what the index answers, and how it notices that rows were lost or changed.

Each subject has the number and the sum of its intervals beside its token, subjects and models lie
in blocks that have theirs, and each data version has the sum of all up to it: the question that
reads a row finds out, and none has to read all of them.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

from clew.adapters import sums
from clew.adapters.sums import SUM
from clew.errors import Unverifiable
from clew.identity import CommitSha
from clew.records.index import IndexedModel, IndexedVersion, Interval
from clew.records.tokens import Token

FORMAT = 2
MODEL_BLOCK = 64  # data versions, whose models have one sum
SPREAD = 2_654_435_761  # so that the ends of two intervals don't make up for each other
STATEMENTS = 1_024  # that Python keeps prepared
WAIT_SECONDS = 60.0
FIX = "Make it anew from the manifests: clew index build"
SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('versions', '0 ');
CREATE TABLE versions (number INTEGER PRIMARY KEY, entry TEXT, at TEXT, facts TEXT, problem TEXT,
  chain BLOB);
CREATE INDEX unknown ON versions (number) WHERE problem <> '';
CREATE TABLE models (entry TEXT, at TEXT, number INTEGER, uri TEXT, run_id TEXT,
  PRIMARY KEY (number, at, entry)) WITHOUT ROWID;
CREATE TABLE subjects (id INTEGER PRIMARY KEY, token BLOB NOT NULL UNIQUE,
  intervals INTEGER NOT NULL DEFAULT 0, marks INTEGER NOT NULL DEFAULT 0);
CREATE TABLE splits (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE open (record TEXT PRIMARY KEY, subject INTEGER NOT NULL, split INTEGER NOT NULL,
  first INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX open_by_subject ON open (subject);
CREATE TABLE segments (id INTEGER PRIMARY KEY, level INTEGER NOT NULL);
{sums.TABLE.format("model_blocks")}
INSERT INTO model_blocks VALUES (0, 0, 0);
{sums.TABLE.format("subject_blocks")}
WITH RECURSIVE n (id) AS (VALUES (0) UNION ALL SELECT id + 1 FROM n WHERE id + 1 < {sums.BLOCKS})
  INSERT INTO subject_blocks SELECT id, 0, 0 FROM n;
"""  # noqa: S608


class IndexReader:
    """One file, which any number of commands may read while one writes."""

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

    def generation(self) -> str:
        return self._meta("generation")

    def versions(self) -> list[IndexedVersion]:
        newest = self._newest()
        return self.versions_in([(1, newest)] if newest else [])

    def versions_in(self, numbers: Sequence[tuple[int, int]]) -> list[IndexedVersion]:
        with self._reading() as database:
            return [one for span in numbers for one in self._span(database, *span)]

    def unknown(self) -> list[IndexedVersion]:
        with self._reading() as database:
            query = "SELECT number FROM versions WHERE problem <> '' ORDER BY number"
            numbers = [number for (number,) in database.execute(query)]
            if len(numbers) != int(get_meta(database, "unknown") or 0):
                raise self._damaged("which data versions are unknown was changed")
        return self.versions_in([(number, number) for number in numbers])

    def find(self, token: Token) -> list[Interval]:
        wanted = bytes.fromhex(token)
        with self._reading() as database:
            row = self._subject(database, wanted)
            if row is None:
                return []
            subject, count, marks = row
            newest = self._newest()
            rows = list(self._rows(database, subject))
            splits = dict(database.execute("SELECT id, name FROM splits"))
            if get_meta(database, "splits") != splits_mark(splits):
                raise self._damaged("its list of splits was changed")
        if (count, marks) != (len(rows), _sum(rows)):
            raise self._damaged("intervals of this subject are missing or were changed")
        found = [
            Interval(record, splits[split], first, newest if last is None else last)
            for record, first, split, last in rows
        ]
        return sorted(found, key=lambda one: (one.first, one.record))

    def models(self, numbers: Sequence[tuple[int, int]]) -> list[IndexedModel]:
        spans = sorted(numbers)
        firsts = [first for first, _ in spans]
        with self._reading() as database:
            rows = [row for span in _blocks(spans) for row in self._block(database, span)]
        return [
            row
            for row in rows
            if (place := bisect_right(firsts, row.number)) and row.number <= spans[place - 1][1]
        ]

    def unplaced(self) -> list[IndexedModel]:
        return self.models([(0, 0)])

    def _span(self, database: sqlite3.Connection, first: int, last: int) -> list[IndexedVersion]:
        """Return data versions from the first to the last, held against the sum before them."""
        query = "SELECT chain FROM versions WHERE number = ?"
        before = database.execute(query, (first - 1,)).fetchone() or (b"",)
        query = "SELECT * FROM versions WHERE number BETWEEN ? AND ? ORDER BY number"
        rows = database.execute(query, (first, last)).fetchall()
        newest, end = self._end(database)
        is_end = last < newest or bool(rows and rows[-1][-1] == end)
        numbers = [row[0] for row in rows]
        if numbers != list(range(first, last + 1)) or not is_end or not _follow(before[0], rows):
            raise self._damaged("its list of data versions was changed")
        return list(_versions(rows))

    def _subject(self, database: sqlite3.Connection, token: bytes) -> tuple[int, int, int] | None:
        """Return a subject's id and the number and sum of its intervals, None without one."""
        block = sums.block_of(token)
        query = "SELECT id, token, intervals, marks FROM subjects WHERE token BETWEEN ? AND ?"
        rows = database.execute(query, sums.ends_of(block)).fetchall()
        marks = (sums.mark(number, one) for number, one, *_ in rows)
        if not sums.holds(database, "subject_blocks", (block, block), marks):
            raise self._damaged("subjects are missing or were changed")
        return next(((row[0], row[2], row[3]) for row in rows if row[1] == token), None)

    def _block(self, database: sqlite3.Connection, span: tuple[int, int]) -> list[IndexedModel]:
        """Return the models of whole blocks."""
        first, last = ((block - 1) * MODEL_BLOCK + 1 for block in (span[0], span[1] + 1))
        query = "SELECT * FROM models WHERE number BETWEEN ? AND ? ORDER BY number, at, entry"
        rows = database.execute(query, (first, last - 1)).fetchall()
        if not sums.holds(database, "model_blocks", span, (sums.mark(*row) for row in rows)):
            raise self._damaged("models are missing or were changed")
        return list(map(IndexedModel._make, rows))

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

    def _meta(self, name: str) -> str:
        with self._reading() as database:
            return get_meta(database, name)

    def _newest(self) -> int:
        with self._reading() as database:
            return self._end(database)[0]

    def _end(self, database: sqlite3.Connection) -> tuple[int, bytes]:
        """Return the number of the last data version and the sum of all."""
        number, _, chain = get_meta(database, "versions").partition(" ")
        return int(number), bytes.fromhex(chain)

    def _damaged(self, why: str) -> Unverifiable:
        return Unverifiable(f"the index {self.path} is damaged: {why}", fix=FIX)


def get_meta(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


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


def chained(chain: bytes, row: Sequence[object]) -> bytes:
    return sha256(chain + "\0".join(map(str, row)).encode()).digest()


def _follow(chain: bytes, rows: Iterable[Sequence[object]]) -> bool:
    """Tell whether each row has the sum of all up to it."""
    for row in rows:
        chain = chained(chain, row[:-1])
        if chain != row[-1]:
            return False
    return True


def splits_mark(splits: Mapping[int, str]) -> str:
    return str(sums.mark(*sorted(splits.items())))


def model_block(number: int) -> int:
    """Return the block of a data version's models; number 0 has one of its own."""
    return -(-number // MODEL_BLOCK)


def _blocks(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the blocks of ranges of data versions, as ranges that don't overlap."""
    found: list[tuple[int, int]] = []
    for first, last in ((model_block(one), model_block(two)) for one, two in spans):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def _versions(rows: Sequence[Sequence[Any]]) -> Iterator[IndexedVersion]:
    documents = json.loads(
        f"[{','.join(row[3] for row in rows)}]"
    )  # one by one takes twice as long
    for (number, entry, at, _, problem, _), facts in zip(rows, documents, strict=True):
        yield IndexedVersion(number, CommitSha(entry), datetime.fromisoformat(at), facts, problem)

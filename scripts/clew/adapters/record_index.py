"""SQLite: the index, as intervals.

What is still there in the newest data version is in `open`. What is closed lies in segments: tables
that are written once, in order, and merged when there are many of one size, as in a log-structured
merge tree (https://www.cs.umb.edu/~poneil/lsmtree.pdf): a data version is appended, not scattered
over gigabytes, and a look-up is one seek in each of a few tables.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from clew.adapters import sums
from clew.adapters.record_index_read import (
    FIX,
    IndexReader,
    chained,
    closing,
    get_meta,
    model_block,
    opening,
    splits_mark,
)
from clew.adapters.sums import SUM
from clew.errors import Unverifiable
from clew.records.index import IndexedModel, IndexedVersion, Joining, RecordIndex
from clew.records.tokens import Token

FAN = 16  # segments of one level, before they are merged into one of the next
SEGMENT = """CREATE TABLE closed_{} (subject INTEGER, first INTEGER, record TEXT, split INTEGER,
  last INTEGER, PRIMARY KEY (subject, first, record)) WITHOUT ROWID"""


class SqliteIndex(IndexReader, RecordIndex):
    """One file; a data version is taken in whole, or not at all."""

    def begin(self, tokens_id: str) -> None:
        bound = self.tokens_id()
        if bound not in ("", tokens_id):
            raise Unverifiable(
                f"the index {self.path} was built with the key and vault {bound}, not {tokens_id}",
                fix=FIX,
            )
        if not bound:
            with self._writing() as database:
                set_meta(database, "tokens", tokens_id)

    def need(self, generation: str) -> None:
        if generation != self.generation():
            with self._writing() as database:
                set_meta(database, "generation", generation)

    def add_version(
        self, version: IndexedVersion, leaving: Iterable[str], joining: Iterable[Joining]
    ) -> None:
        with self._writing() as database:
            self._close(database, version.number - 1, leaving)
            self._join(database, version.number, joining)
            self._number(database, version)
            set_meta(database, "head", version.entry)

    def tidy(self) -> None:
        """Merge segments where there are many of one size, as each look-up goes through all."""
        while level := self._full_level():
            self._merge(*level)

    def add_model(self, model: IndexedModel) -> None:
        with self._writing() as database:
            database.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", model)
            block = model_block(model.number)
            sums.add(database, "model_blocks", [(block, sums.mark(*model))])
            set_meta(database, "head", model.entry)

    def _number(self, database: sqlite3.Connection, version: IndexedVersion) -> None:
        """Put a data version at the end of their list."""
        facts = json.dumps(dict(version.facts), sort_keys=True)
        row = (version.number, version.entry, version.at.isoformat(), facts, version.problem)
        chain = chained(self._end(database)[1], row)
        database.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", (*row, chain))
        set_meta(database, "versions", f"{version.number} {chain.hex()}")
        if version.problem:
            set_meta(database, "unknown", str(int(get_meta(database, "unknown") or 0) + 1))
        query = "INSERT OR IGNORE INTO model_blocks VALUES (?, 0, 0)"
        database.execute(query, (model_block(version.number),))

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
        ids = self._ids_of(database, {row.token for row in rows})
        splits = self._splits_with(database, {row.split for row in rows})
        new = sorted((row.record, ids[row.token], splits[row.split], first) for row in rows)
        database.executemany("INSERT INTO open VALUES (?, ?, ?, ?)", new)
        query = (
            "UPDATE subjects SET intervals = intervals + 1, marks = (marks + ?) % ? WHERE id = ?"
        )
        marks = ((opening(record, first, split), SUM, subject) for record, subject, split, _ in new)
        database.executemany(query, marks)

    def _ids_of(self, database: sqlite3.Connection, tokens: set[Token]) -> dict[Token, int]:
        """Return the subjects' own numbers; new ones are given one."""
        ids, new = dict[Token, int](), list[tuple[int, int]]()
        for token in sorted(tokens):
            wanted = bytes.fromhex(token)
            query = "SELECT id FROM subjects WHERE token = ?"
            row = database.execute(query, (wanted,)).fetchone()
            if row is None:
                query = "INSERT INTO subjects (token) VALUES (?) RETURNING id"
                row = database.execute(query, (wanted,)).fetchone()
                new.append((sums.block_of(wanted), sums.mark(row[0], wanted)))
            ids[token] = row[0]
        sums.add(database, "subject_blocks", new)
        return ids

    def _splits_with(self, database: sqlite3.Connection, names: set[str]) -> dict[str, int]:
        query = "INSERT OR IGNORE INTO splits (name) VALUES (?)"
        database.executemany(query, [(name,) for name in sorted(names)])
        found = dict(database.execute("SELECT id, name FROM splits"))
        set_meta(database, "splits", splits_mark(found))
        return {name: number for number, name in found.items()}

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


def set_meta(database: sqlite3.Connection, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

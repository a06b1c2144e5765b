"""SQLite: a whole index at once.

What is still there is kept in memory, which is one data version; what is closed goes to a file at
the side and is sorted once, so nothing is read or written twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from clew.adapters import sums
from clew.adapters.record_index import SqliteIndex, set_meta
from clew.adapters.record_index_read import closing, opening, splits_mark
from clew.adapters.sums import SUM
from clew.records.index import Joining

TOP_LEVEL = 9  # of a segment that is never merged again by itself
FAST = """
ATTACH DATABASE '' AS aside;
CREATE TABLE aside.closed (subject INTEGER, first INTEGER, record TEXT, split INTEGER,
  last INTEGER);
PRAGMA synchronous = OFF;
PRAGMA threads = 2;
"""


class IndexBuilder(SqliteIndex):
    """An index that can be asked only after `finish`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, create=True)
        self._database.executescript(FAST)
        self._open: dict[str, tuple[int, int, int]] = {}  # record → subject, split, first
        self._ids: dict[str, int] = {}  # by token
        self._splits: dict[str, int] = {}
        self._counts = [0]  # of intervals, by subject; there is no subject 0
        self._sums = [0]

    def finish(self) -> None:
        """Write what was kept, sorted."""
        with self._writing() as database:
            segment = self._new_segment(database, TOP_LEVEL)
            query = f"INSERT INTO closed_{segment} SELECT * FROM aside.closed ORDER BY 1, 2, 3"  # noqa: S608
            database.execute(query)
            rows = ((record, *facts) for record, facts in sorted(self._open.items()))
            database.executemany("INSERT INTO open VALUES (?, ?, ?, ?)", rows)
            self._write_subjects(database)
            names = {number: name for name, number in self._splits.items()}
            database.executemany("INSERT INTO splits VALUES (?, ?)", names.items())
            set_meta(database, "splits", splits_mark(names))
        self._database.execute("DETACH DATABASE aside")
        self.close()

    def _write_subjects(self, database: sqlite3.Connection) -> None:
        tokens = [(number, bytes.fromhex(token)) for token, number in self._ids.items()]
        rows = ((n, token, self._counts[n], self._sums[n]) for n, token in tokens)
        database.executemany("INSERT INTO subjects VALUES (?, ?, ?, ?)", rows)
        marks = ((sums.block_of(token), sums.mark(n, token)) for n, token in tokens)
        sums.add(database, "subject_blocks", marks)

    def _close(self, database: sqlite3.Connection, last: int, leaving: Iterable[str]) -> None:
        ends, rows = closing(last), []
        for record in leaving:
            subject, split, first = self._open.pop(record)
            self._sums[subject] = (self._sums[subject] + ends) % SUM
            rows.append((subject, first, record, split, last))
        database.executemany("INSERT INTO aside.closed VALUES (?, ?, ?, ?, ?)", rows)

    def _join(self, database: sqlite3.Connection, first: int, joining: Iterable[Joining]) -> None:  # noqa: ARG002
        for record, token, split in joining:
            subject = self._ids.get(token) or self._new_subject(token)
            number = self._splits.setdefault(split, len(self._splits) + 1)
            self._open[record] = subject, number, first
            self._counts[subject] += 1
            self._sums[subject] = (self._sums[subject] + opening(record, first, number)) % SUM

    def _new_subject(self, token: str) -> int:
        self._counts.append(0)
        self._sums.append(0)
        self._ids[token] = len(self._ids) + 1
        return self._ids[token]

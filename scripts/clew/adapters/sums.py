"""Sums: how rows that were lost or changed are found out without reading all of them.

Rows lie in blocks, each with the number and the sum of its members beside it. What finds one row
reads its whole block, so a row that is not there was never there.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from zlib import crc32

SUM = 1 << 62  # sums stay below it, within SQLite's integers
BLOCK_DIGITS = 3  # of a hash in hexadecimal: a million make blocks of 244
BLOCKS = 16**BLOCK_DIGITS
HASH_DIGITS = 64
TABLE = """CREATE TABLE IF NOT EXISTS {} (id INTEGER PRIMARY KEY, members INTEGER NOT NULL,
  marks INTEGER NOT NULL);"""


def mark(*facts: object) -> int:
    """Return what a row adds to the sum of its block."""
    return crc32(repr(facts).encode())


def block_of(hashed: bytes) -> int:
    """Return the block of a row that is found by a hash."""
    return int(hashed.hex()[:BLOCK_DIGITS], 16)


def ends_of(block: int) -> tuple[bytes, bytes]:
    """Return the first and the last hash that a block can have."""
    start = f"{block:0{BLOCK_DIGITS}x}"
    return bytes.fromhex(start.ljust(HASH_DIGITS, "0")), bytes.fromhex(
        start.ljust(HASH_DIGITS, "f")
    )


def tallied(rows: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return block, number and sum of all rows, given as block and mark."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for block, one in rows:
        found[block][0] += 1
        found[block][1] = (found[block][1] + one) % SUM
    return [(block, members, marks) for block, (members, marks) in found.items()]


def add(database: sqlite3.Connection, table: str, rows: Iterable[tuple[int, int]]) -> None:
    """Add rows, given as block and mark, to their blocks."""
    query = f"""INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET
      members = members + excluded.members, marks = (marks + excluded.marks) % {SUM}"""  # noqa: S608
    database.executemany(query, tallied(rows))


def change(database: sqlite3.Connection, table: str, block: int, old: int, new: int) -> None:
    """Put one row's mark in the place of another."""
    query = f"UPDATE {table} SET marks = (marks + ?) % {SUM} WHERE id = ?"  # noqa: S608
    database.execute(query, ((new - old) % SUM, block))


def holds(
    database: sqlite3.Connection, table: str, span: tuple[int, int], marks: Iterable[int]
) -> bool:
    """Tell whether these are the marks of all rows of the blocks from the first to the last."""
    query = f"SELECT members, marks FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608
    rows = database.execute(query, span).fetchall()
    found = list(marks)
    return (
        len(rows) == span[1] - span[0] + 1
        and len(found) == sum(members for members, _ in rows)
        and sum(found) % SUM == sum(one for _, one in rows) % SUM
    )

"""SQLite: where the index is, and what is done with it as a whole.

Each index is a file of its own name, `1.db`, `2.db`, …, of which the last counts: a new one is put
in place while others still read the one before, whose write-ahead log must not be taken for its.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from clew.adapters.record_index import SqliteIndex
from clew.adapters.record_index_build import IndexBuilder
from clew.adapters.record_index_read import FIX
from clew.errors import Unverifiable
from clew.records.tokens import FORGOTTEN

BATCH = 100_000  # rows
SHOWN = 3
TOKEN = 64  # digits
INTERVALS = """SELECT lower(hex(s.token)) AS token, i.record AS record, p.name AS split,
  i.first AS first, i.last AS last FROM ({}) i
  JOIN {name}.subjects s ON s.id = i.subject JOIN {name}.splits p ON p.id = i.split"""

MODELS = "SELECT uri, entry, at, number, run_id FROM {}.models"


class IndexFiles:
    """The folder of the index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self, *, create: bool = False) -> SqliteIndex:
        """Return the index; Unverifiable where there is none and none is to be created."""
        numbers = self._numbers()
        if not numbers and not create:
            raise Unverifiable(f"there is no index in {self.folder}", fix=FIX)
        return SqliteIndex(self._path(max(numbers, default=1)), create=create)

    def builder(self) -> IndexBuilder:
        """Return an index to be built, beside the one that counts."""
        for left in self.folder.glob("new-*"):  # by a command that was killed
            left.unlink(missing_ok=True)
        return IndexBuilder(self.folder / f"new-{os.getpid()}.db")

    def put_in_place(self, built: IndexBuilder) -> None:
        """Let a finished index count, and remove those before it."""
        numbers = self._numbers()
        built.path.replace(self._path(max(numbers, default=0) + 1))
        for number in numbers:
            self._remove(self._path(number))

    def discard(self, built: IndexBuilder) -> None:
        self._remove(built.path)

    def differences(self, built: IndexBuilder) -> list[str]:
        """Return in what the index differs from one that was built just now, in words."""
        current = self.current()
        if current.versions() != SqliteIndex(built.path).versions():
            return ["its list of data versions is another one"]
        with closing(sqlite3.connect(current.path)) as database:
            database.execute("ATTACH DATABASE ? AS built", (str(built.path),))
            ours, theirs = _intervals(database, "main"), _intervals(database, "built")
            try:
                lost, extra = _except(database, theirs, ours), _except(database, ours, theirs)
                models = [MODELS.format(name) for name in ("built", "main")]
                missing = _except(database, *models), _except(database, *reversed(models))
            except sqlite3.Error as error:
                raise Unverifiable(f"the index can't be read: {error}", fix=FIX) from error
        forgotten = {row[1:] for row in lost if row[0] == FORGOTTEN}
        lost = {row for row in lost if row[0] != FORGOTTEN}
        extra = {row for row in extra if row[1:] not in forgotten}
        return [
            f"it {verb} {len(rows):,} {what}, such as {', '.join(_named(rows))}"
            for what, sides in (("intervals", (lost, extra)), ("models", missing))
            for verb, rows in zip(("lacks", "has, and should not,"), sides, strict=True)
            if rows
        ]

    def export(self, target: Path) -> dict[str, int]:
        """Write intervals, data versions and models as Parquet; return the rows of each file."""
        import pyarrow as pa

        current = self.current()
        versions = current.versions()
        models = current.models([(0, len(versions))])  # 0: those whose data version is unknown
        target.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(current.path)) as database:
            query = f"{_intervals(database, 'main')} ORDER BY token, first, record"
            rows = database.execute(query)
            schema = pa.schema(
                [(n, pa.string()) for n in ("token", "record", "split")]
                + [(n, pa.int32()) for n in ("first", "last")]
            )
            counts = {"intervals": _write(target / "intervals.parquet", schema, _batches(rows))}
        words = {"data_version": "", "data_git_commit_id": "", "manifest_sha256": ""}
        table = [
            (v.number, v.at.isoformat(), *(v.facts.get(n, "") for n in words), v.problem)
            for v in versions
        ]
        names = ("number", "at", *words, "problem")
        counts["versions"] = _write(target / "versions.parquet", _schema(pa, names), [table])
        names = ("number", "at", "model", "run_id")
        found = [(m.number, m.at, m.uri, m.run_id) for m in models]
        counts["models"] = _write(target / "models.parquet", _schema(pa, names), [found])
        return counts

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self.folder.glob("*.db") if path.stem.isdigit()]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.db"

    def _remove(self, path: Path) -> None:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                Path(f"{path}{end}").unlink()


def _intervals(database: sqlite3.Connection, name: str) -> str:
    """Return the query for all intervals of one of the attached indexes."""
    segments = database.execute(f"SELECT id FROM {name}.segments").fetchall()  # noqa: S608
    columns = "subject, record, split, first"
    newest = f"(SELECT coalesce(max(number), 0) FROM {name}.versions)"  # noqa: S608
    parts = [f"SELECT {columns}, last FROM {name}.closed_{one}" for (one,) in segments]  # noqa: S608
    parts.append(f"SELECT {columns}, {newest} AS last FROM {name}.open")  # noqa: S608
    return INTERVALS.format(" UNION ALL ".join(parts), name=name)


def _except(database: sqlite3.Connection, one: str, other: str) -> set[tuple[Any, ...]]:
    return set(database.execute(f"{one} EXCEPT {other}"))


def _named(rows: set[tuple[Any, ...]]) -> list[str]:
    """Return what some rows begin with: a token, which is long, or a model."""
    return [f"{row[0][:12]}…" if len(row[0]) == TOKEN else row[0] for row in sorted(rows)[:SHOWN]]


def _schema(pa: Any, names: tuple[str, ...]) -> Any:
    return pa.schema([(n, pa.int32() if n == "number" else pa.string()) for n in names])


def _batches(rows: sqlite3.Cursor) -> Iterator[list[Any]]:
    while batch := rows.fetchmany(BATCH):
        yield batch


def _write(path: Path, schema: Any, batches: Any) -> int:
    """Write a Parquet file, whole or not at all; return its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, new = 0, path.with_name(f".{path.name}.new")
    with pq.ParquetWriter(new, schema) as writer:
        for batch in batches:
            columns = list(zip(*batch, strict=True)) or [()] * len(schema)
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    new.replace(path)
    return count

"""The manifest: one row per record of a data version, whom it is about and which split it is in."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from clew.config.model import Records
from clew.errors import Unverifiable
from clew.identity import Pointer
from clew.ports import DataStore

PARQUET = ".parquet"


class Row(NamedTuple):
    """One record; what the manifest has no column for is empty."""

    record: str
    subject: str
    split: str
    label: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The bytes of one manifest, whose md5 was checked, and what its columns mean."""

    path: str
    md5: str
    content: bytes
    names: Records

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        if self.path.endswith(PARQUET):
            return tuple(self._parquet().schema_arrow.names)
        try:
            return tuple(next(_csv(self.content), ()))
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._unreadable(f"line 1: {error}") from error

    @cached_property
    def is_plain(self) -> bool:
        """Whether each line is a row: a CSV file in which nothing is quoted."""
        return not (self.path.endswith(PARQUET) or b'"' in self.content or b"\r" in self.content)

    def lines(self) -> list[bytes]:
        """Return the rows of a plain manifest as they are written."""
        return [line for line in self.content.split(b"\n")[1:] if line]

    def rows(self) -> Iterator[Row]:
        """Yield the records in their order; Unverifiable names the line that can't be read."""
        table = self._batches() if self.path.endswith(PARQUET) else self._table(self.content)
        return self._named(table)

    def rows_of(self, lines: Iterable[bytes]) -> Iterator[Row]:
        """Yield the records of some lines of a plain manifest."""
        head = self.content.partition(b"\n")[0]
        return self._named(self._table(b"\n".join([head, *lines])))

    def _named(self, table: Iterable[list[str]]) -> Iterator[Row]:
        columns = self.columns
        wanted = (self.names.record, self.names.subject, self.names.split)
        if missing := [name for name in wanted if name not in columns]:
            raise self._unreadable(f"it has no column {missing[0]!r}")
        optional = (self.names.label, self.names.file, self.names.sha256)
        named = (*wanted, *optional)
        if doubled := [name for name in named if columns.count(name) > 1]:
            raise self._unreadable(f"it has the column {doubled[0]!r} more than once")
        places = [columns.index(n) if n in columns else len(columns) for n in named]
        record, subject, split, label, file, sha256 = places
        for row in table:
            row.append("")
            yield Row(row[record], row[subject], row[split], row[label], row[file], row[sha256])

    def _table(self, content: bytes) -> Iterator[list[str]]:
        width = len(self.columns)
        reader = _csv(content)
        try:
            next(reader, None)
            for row in reader:
                if len(row) != width:
                    found = f"line {reader.line_num} has {len(row)} fields instead of {width}"
                    raise self._unreadable(found)
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._unreadable(f"line {reader.line_num}: {error}") from error

    def _parquet(self) -> Any:
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(io.BytesIO(self.content))
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error

    def _batches(self) -> Iterator[list[str]]:
        file = self._parquet()
        for name in (self.names.record, self.names.subject, self.names.split):
            self._refuse_type(file.schema_arrow, name)
        try:
            for batch in file.iter_batches():
                columns = [
                    ["" if value is None else str(value) for value in column.to_pylist()]
                    for column in batch.columns
                ]
                yield from map(list, zip(*columns, strict=True))
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error

    def _refuse_type(self, schema: Any, name: str) -> None:
        """Refuse a column whose values have no one form as text."""
        from pyarrow import types

        if name not in schema.names:
            return  # told where the columns are named
        kind = schema.field(name).type
        text = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(text) or types.is_large_string(text) or types.is_integer(text)):
            raise self._unreadable(f"the column {name!r} has the type {kind}, not text or integers")

    def _unreadable(self, why: str) -> Unverifiable:
        return Unverifiable(
            f"the manifest {self.path} ({self.md5}) can't be read: {why}",
            fix="Correct records in pipeline.yaml, or the stage that writes the manifest.",
        )


def _csv(content: bytes) -> Any:
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    return csv.reader(text, strict=True)


def read_manifest(store: DataStore, pointers: Iterable[Pointer], names: Records) -> Manifest:
    """Return the manifest of a data version, its bytes held against their md5.

    Unverifiable when the data version has none, or cache and remote have lost it.
    """
    for pointer in pointers:
        files: Mapping[str, str] = store.files(pointer)
        if md5 := files.get(names.manifest):
            content = store.read(pointer.hash, md5, names.manifest)
            return Manifest(names.manifest, md5, content, names)
    raise Unverifiable(
        f"the data version has no manifest {names.manifest}",
        fix="Correct records.manifest in pipeline.yaml, or the stage that writes the manifest.",
    )

"""What changed between two data versions: records by split and class, files and folders."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from clew.config.model import Records
from clew.context import Context
from clew.errors import Unverifiable
from clew.identity import Pointer

LABEL = "label"  # the manifest's column of a record's class, where it has one
FILE = "file_path"
TOP_FOLDERS = 5

Files = Mapping[str, str]  # path, relative to pipeline.yaml → md5


class Record(NamedTuple):
    """One row of a manifest, or one file where there is none."""

    split: str
    label: str
    content: str  # md5 of its file


@dataclass(frozen=True)
class ClassChange:
    """How many records of one class in one split were added, removed, changed."""

    split: str
    label: str
    added: int
    removed: int
    changed: int
    records: int  # that there are now


@dataclass(frozen=True)
class DataDiff:
    """The difference between two data versions."""

    classes: tuple[ClassChange, ...]  # of those that changed
    unit: str  # record, or file where no manifest tells records
    records: int  # in the head
    relabelled: int
    resplit: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    files: int
    files_new: int  # whose bytes the base did not have
    size: int | None  # bytes of the head
    size_before: int | None
    folders: tuple[tuple[str, int], ...]  # most changed first, with files changed

    @property
    def added(self) -> int:
        return sum(row.added for row in self.classes)

    @property
    def removed(self) -> int:
        return sum(row.removed for row in self.classes)

    @property
    def changed(self) -> int:
        return sum(row.changed for row in self.classes)


@dataclass(frozen=True)
class DataState:
    """One data version, read: its files and its records."""

    files: Files
    records: Mapping[str, Record]  # by record id
    columns: tuple[str, ...]
    size: int | None
    unit: str


def read_state(context: Context, pointers: Iterable[Pointer], records: Records | None) -> DataState:
    """Read the lists of files, and the manifest where pipeline.yaml names one.

    Unverifiable when the cache and the remote lack them, or the manifest lacks a named column.
    """
    held = list(pointers)
    files = {path: md5 for pointer in held for path, md5 in context.store.files(pointer).items()}
    sizes = [pointer.size for pointer in held]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    if records is None or records.manifest not in files:
        by_path = {path: _record_of(path, md5) for path, md5 in files.items()}
        return DataState(files, by_path, (), size, "file")
    owner = next(p for p in held if records.manifest.startswith(f"{p.path}/"))
    content = context.store.read(owner.hash, files[records.manifest], records.manifest)
    columns, rows = parse_manifest(content, records, files)
    return DataState(files, rows, columns, size, "record")


def _record_of(path: str, md5: str) -> Record:
    """Return a file as a record, by the usual layout: …/split/class/file."""
    folders = PurePosixPath(path).parts[:-1]
    split, label = folders[-2:] if len(folders) > 2 else ("", "")
    return Record(split, label, md5)


def parse_manifest(
    content: bytes, records: Records, files: Files
) -> tuple[tuple[str, ...], dict[str, Record]]:
    """Return a manifest's columns and its records by id; Unverifiable without a named column."""
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    columns = tuple(reader.fieldnames or ())
    if missing := [name for name in (records.record, records.split) if name not in columns]:
        raise Unverifiable(
            f"the manifest {records.manifest} has no column {missing[0]!r}",
            fix="Correct records in pipeline.yaml, or the stage that writes the manifest.",
        )
    folder = str(PurePosixPath(records.manifest).parent)
    found: dict[str, Record] = {}
    for row in reader:
        path = row.get(FILE) or ""
        content_of = files.get(path) or files.get(f"{folder}/{path}", "")
        found[row[records.record]] = Record(row[records.split], row.get(LABEL) or "", content_of)
    return columns, found


def data_diff(base: DataState, head: DataState) -> DataDiff:
    """Return what head has that base has not, and the other way round."""
    before, after = base.records, head.records
    added = Counter(_class(after[one]) for one in after.keys() - before.keys())
    removed = Counter(_class(before[one]) for one in before.keys() - after.keys())
    different = [one for one in after.keys() & before.keys() if after[one] != before[one]]
    changed = Counter(_class(after[one]) for one in different)
    now = Counter(_class(record) for record in after.values())
    classes = tuple(
        ClassChange(*name, added[name], removed[name], changed[name], now[name])
        for name in sorted(added.keys() | removed.keys() | changed.keys())
    )
    return DataDiff(
        classes=classes,
        unit=head.unit,
        records=len(after),
        relabelled=sum(after[one].label != before[one].label for one in different),
        resplit=sum(after[one].split != before[one].split for one in different),
        columns_added=tuple(name for name in head.columns if name not in base.columns),
        columns_removed=tuple(name for name in base.columns if name not in head.columns),
        files=len(head.files),
        files_new=len(set(head.files.values()) - set(base.files.values())),
        size=head.size,
        size_before=base.size,
        folders=_folders(base.files, head.files),
    )


def _class(record: Record) -> tuple[str, str]:
    return record.split, record.label


def _folders(base: Files, head: Files) -> tuple[tuple[str, int], ...]:
    changed = {path for path, md5 in head.items() if base.get(path) != md5} | (
        base.keys() - head.keys()
    )
    count = Counter(str(PurePosixPath(path).parent) for path in changed)
    return tuple(sorted(count.items(), key=lambda row: (-row[1], row[0]))[:TOP_FOLDERS])

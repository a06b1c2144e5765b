"""What changed between two data versions: records by split and class, files and folders."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from clew.config.model import Records
from clew.context import Context
from clew.identity import Pointer
from clew.records.manifest import Manifest

TOP_FOLDERS = 5

Files = Mapping[str, str]  # path, relative to pipeline.yaml → md5
Sizes = Callable[[set[str]], Mapping[str, int]]  # md5s → bytes of those that can be told


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
    bytes_new: int | None  # of files whose content the base did not have; None: not all are known


@dataclass(frozen=True)
class LabelCount:
    """How many records a class had and has, in all splits."""

    label: str
    base: int
    head: int


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
    labels: tuple[LabelCount, ...]  # all, the largest first
    files: int
    files_new: int  # whose bytes the base did not have
    bytes_new: int | None  # of these files; None where not all are known
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

    @property
    def bytes_reused(self) -> int | None:
        unknown = self.size is None or self.bytes_new is None
        return None if unknown else (self.size or 0) - (self.bytes_new or 0)

    def as_json(self) -> dict[str, Any]:
        totals = ("added", "removed", "changed", "bytes_reused")
        return asdict(self) | {name: getattr(self, name) for name in totals}


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
    folders = path.split("/")[:-1]
    split, label = folders[-2:] if len(folders) > 2 else ("", "")
    return Record(split, label, md5)


def parse_manifest(
    content: bytes, records: Records, files: Files
) -> tuple[tuple[str, ...], dict[str, Record]]:
    """Return a manifest's columns and its records by id; Unverifiable without a named column."""
    manifest = Manifest(records.manifest, "", content, records)
    folder = str(PurePosixPath(records.manifest).parent)
    found: dict[str, Record] = {}
    for row in manifest.rows():
        content_of = files.get(row.file) or files.get(f"{folder}/{row.file}", "")
        found[row.record] = Record(row.split, row.label, content_of)
    return manifest.columns, found


def data_diff(base: DataState, head: DataState, sizes: Sizes | None = None) -> DataDiff:
    """Return what head has that base has not, and the other way round."""
    old = set(base.files.values())
    new = [md5 for md5 in head.files.values() if md5 not in old]
    known = sizes(set(new)) if sizes and new else {}
    tallies, pairs = _tallies(base.records, head.records, old, known)
    rows = sorted((name, one) for name, one in tallies.items() if one.differs)
    return DataDiff(
        classes=tuple(one.row(*name) for name, one in rows),
        unit=head.unit,
        records=len(head.records),
        relabelled=sum(before.label != after.label for before, after in pairs),
        resplit=sum(before.split != after.split for before, after in pairs),
        columns_added=tuple(name for name in head.columns if name not in base.columns),
        columns_removed=tuple(name for name in base.columns if name not in head.columns),
        labels=tuple(_labels(base.records.values(), head.records.values())),
        files=len(head.files),
        files_new=len(new),
        bytes_new=None if set(new) - known.keys() else sum(known[md5] for md5 in new),
        size=head.size,
        size_before=base.size,
        folders=_folders(base.files, head.files),
    )


@dataclass
class _Tally:
    """Counts of one class in one split."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    records: int = 0
    bytes_new: float = 0  # NaN where one is not known

    @property
    def differs(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def row(self, split: str, label: str) -> ClassChange:
        size = None if math.isnan(self.bytes_new) else int(self.bytes_new)
        return ClassChange(split, label, self.added, self.removed, self.changed, self.records, size)


def _tallies(
    before: Mapping[str, Record],
    after: Mapping[str, Record],
    old: set[str],
    sizes: Mapping[str, int],
) -> tuple[dict[tuple[str, str], _Tally], list[tuple[Record, Record]]]:
    """Return the counts by split and class, and the records that changed, as they were and are."""
    tallies: defaultdict[tuple[str, str], _Tally] = defaultdict(_Tally)
    pairs: list[tuple[Record, Record]] = []
    for one, record in after.items():
        tally = tallies[record.split, record.label]
        tally.records += 1
        was = before.get(one)
        if was == record:
            continue
        if was is None:
            tally.added += 1
        else:
            tally.changed += 1
            pairs.append((was, record))
        if record.content and record.content not in old:
            tally.bytes_new += sizes.get(record.content, math.nan)
    for one in before.keys() - after.keys():
        tallies[before[one].split, before[one].label].removed += 1
    return tallies, pairs


def _labels(base: Iterable[Record], head: Iterable[Record]) -> list[LabelCount]:
    before = Counter(record.label for record in base)
    after = Counter(record.label for record in head)
    names = (before.keys() | after.keys()) - {""}
    found = [LabelCount(name, before[name], after[name]) for name in names]
    return sorted(found, key=lambda row: (-row.head, row.label))


def _folders(base: Files, head: Files) -> tuple[tuple[str, int], ...]:
    changed = {path for path, md5 in head.items() if base.get(path) != md5} | (
        base.keys() - head.keys()
    )
    count = Counter(path.rpartition("/")[0] or "." for path in changed)
    return tuple(sorted(count.items(), key=lambda row: (-row[1], row[0]))[:TOP_FOLDERS])

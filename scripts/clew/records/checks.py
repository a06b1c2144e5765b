"""What must hold of a manifest before its data version exists."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.identity import Pointer
from clew.records.manifest import Manifest, Row
from clew.records.signed import data_entries, manifest_of, pointers_of

AT_ONCE = 16  # files that are read
FIX = "Correct the stage that writes the manifest."


@dataclass(frozen=True)
class Counts:
    """How many records a manifest has, and of how many subjects."""

    records: int
    subjects: int


@dataclass(frozen=True)
class _File:
    """The file of a record."""

    number: int  # of the record, from 1
    path: str
    md5: str
    sha256: str


def refuse_unsound(context: Context, pointers: Iterable[Pointer], manifest: Manifest) -> Counts:
    """Return the counts of a sound manifest; ConfigError says what is wrong with another.

    No message names a subject.
    """
    held = {p: context.store.files(p) for p in pointers}
    files = {path: md5 for listed in held.values() for path, md5 in listed.items()}
    counts, named = _read(manifest, files)
    known = _known(context)
    new = [one for one in named if one.sha256 and (one.md5, one.sha256) not in known]
    hash_name = next((p.hash for p, listed in held.items() if manifest.path in listed), "md5")
    _refuse_other_bytes(context, manifest.path, hash_name, new)
    return counts


def schema_change(context: Context, manifest: Manifest) -> str:
    """Return how the columns differ from those of the data version before, empty if they don't."""
    before = _previous(context)
    if before is None or before.columns == manifest.columns:
        return ""
    came = [name for name in manifest.columns if name not in before.columns]
    went = [name for name in before.columns if name not in manifest.columns]
    parts = (("new columns", came), ("without", went))
    said = "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)
    return said or "the columns are in another order"


def _read(manifest: Manifest, files: Mapping[str, str]) -> tuple[Counts, list[_File]]:
    """Go through the records once."""
    records: set[str] = set()
    splits: dict[str, str] = {}
    named: list[_File] = []
    across = manifest.names.subjects_across_splits
    for number, row in enumerate(manifest.rows(), start=1):
        _refuse_row(manifest, row, number, records)
        records.add(row.record)
        if splits.setdefault(row.subject, row.split) != row.split and not across:
            raise ConfigError(
                f"{manifest.path}, record {number}: its subject is in another split, too",
                fix="Split by subject, or set records.subjects_across_splits in pipeline.yaml.",
            )
        if row.file:
            md5 = _md5(manifest, files, row.file)
            if md5 is None:
                raise _wrong(manifest, number, "its file is not in the data version")
            named.append(_File(number, row.file, md5, row.sha256))
    return Counts(len(records), len(splits)), named


def _refuse_row(manifest: Manifest, row: Row, number: int, records: set[str]) -> None:
    for name, value in (("record", row.record), ("subject", row.subject)):
        if not value:
            raise _wrong(manifest, number, f"it has no {name} id")
        if not value.isprintable() and any(unicodedata.category(char) == "Cc" for char in value):
            raise _wrong(manifest, number, f"its {name} id has control characters")
    if row.record in records:
        raise _wrong(manifest, number, "an earlier record has the same id")


def _refuse_other_bytes(context: Context, path: str, hash_name: str, files: list[_File]) -> None:
    """Hold files against their sha256; only those that no data version before had."""

    def is_right(file: _File) -> bool:
        content = context.store.read(hash_name, file.md5, file.path)
        return hashlib.sha256(content).hexdigest() == file.sha256.lower()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, (file, right) in enumerate(zip(files, pool.map(is_right, files), strict=True), 1):
            if not right:
                raise ConfigError(
                    f"{path}, record {file.number}: its file has another sha256",
                    fix=FIX,
                )
            context.reporter.progress("checked", done, len(files))


def _known(context: Context) -> set[tuple[str | None, str]]:
    """Return what the last data version was signed off with: md5 and sha256 of each file."""
    for entry in reversed(data_entries(context.log.logged())):
        try:
            manifest = manifest_of(context, entry.facts)
            held = [context.store.files(p) for p in pointers_of(context, entry.facts)]
        except ClewError:
            continue  # then more is checked than needs to be
        files = {path: md5 for listed in held for path, md5 in listed.items()}
        return {(_md5(manifest, files, row.file), row.sha256) for row in manifest.rows()}
    return set()


def _md5(manifest: Manifest, files: Mapping[str, str], name: str) -> str | None:
    """Return the md5 of a record's file, None where the data version has no such file."""
    folder = str(PurePosixPath(manifest.path).parent)
    return files.get(name) or files.get(f"{folder}/{name}")


def _previous(context: Context) -> Manifest | None:
    return next(_readable(context), None)


def _readable(context: Context) -> Iterator[Manifest]:
    for entry in reversed(data_entries(context.log.logged())):
        try:
            yield manifest_of(context, entry.facts)
        except ClewError:
            continue


def _wrong(manifest: Manifest, number: int, why: str) -> ConfigError:
    return ConfigError(f"{manifest.path}, record {number}: {why}", fix=FIX)

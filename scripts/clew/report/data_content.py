"""The report's section on data: what came, went and changed, and what a reviewer must not miss."""

from __future__ import annotations

from collections.abc import Iterator

from clew.report.data_diff import DataDiff
from clew.report.document import (
    Block,
    Column,
    Line,
    Name,
    Paragraph,
    Section,
    Strong,
    Table,
)
from clew.report.facts import DATA, Report
from clew.report.words import UNSURE, size

FLAGGED_NAMES = 5


def data_section(report: Report) -> Section:
    """Return the section on data; what is not known is said, never taken for equal."""
    diff = report.data
    if diff is None:
        return Section("Data", tuple(_without_diff(report)), rank=1)
    lines: list[Line] = [(_summary(diff),), (_bytes(diff),), *_flags(diff)]
    blocks: list[Block] = [Paragraph(line) for line in lines]
    if diff.classes:
        blocks.append(_classes(diff))
    if diff.folders:
        blocks.append(Paragraph(_folders(diff)))
    return Section("Data", tuple(blocks), rank=1)


def _without_diff(report: Report) -> Iterator[Block]:
    if report.data_missing:
        words = (
            UNSURE,
            " What changed in the data can't be told: ",
            Name(report.data_missing, is_message=True),
        )
        yield Paragraph((*words, "."))
    elif report.head.stale:
        yield Paragraph((UNSURE, " dvc.lock is older than the inputs: ", *_stale(report), "."))
    elif DATA not in report.parts:
        yield Paragraph(("The data is the same.",))
    if report.pointers:
        titles = ("files", "", "size", "")
        columns = (Column("by Git alone"), *(Column(title, True) for title in titles))
        yield Table(columns, tuple(_pointers(report)))


def _stale(report: Report) -> Line:
    names = Name(", ".join(report.head.stale))
    return (names, " has to run before it can be told what changed in the data")


def _pointers(report: Report) -> Iterator[tuple[Line, ...]]:
    for one in report.pointers:
        files = ["" if count is None else f"{count:,}" for count in one.files]
        sizes = ["" if count is None else size(count) for count in one.size]
        shown = (files[0], f"→ {files[1]}", sizes[0], f"→ {sizes[1]}")
        yield ((Name(one.path),), *((text,) for text in shown))


def _summary(diff: DataDiff) -> str:
    unit = f"{diff.unit}s"
    return (
        f"{diff.added:,} {unit} added, {diff.removed:,} removed, {diff.changed:,} changed; "
        f"{diff.records:,} now."
    )


def _bytes(diff: DataDiff) -> str:
    said = f"{diff.files_new:,} of {diff.files:,} files are new"
    if diff.bytes_new is not None:
        said += f": {size(diff.bytes_new)} new"
        if diff.bytes_reused is not None:
            said += f", {size(diff.bytes_reused)} reused"
    if diff.size is not None and diff.size_before is not None:
        change = diff.size - diff.size_before
        return f"{said}; {size(diff.size)} in all, {size(change, '+')}."
    return f"{said}."


def _flags(diff: DataDiff) -> Iterator[Line]:
    """Yield what changes the meaning of the data, not only how much there is of it."""
    unit = f"{diff.unit}s"
    if diff.relabelled:
        yield (f"{UNSURE} ", Strong(f"{diff.relabelled:,} {unit}"), " have another label now.")
    if diff.resplit:
        yield (f"{UNSURE} ", Strong(f"{diff.resplit:,} {unit}"), " moved to another split.")
    named = (
        ("Classes that are new", [row.label for row in diff.labels if not row.base]),
        ("Classes that are gone", [row.label for row in diff.labels if not row.head]),
        ("Columns of the manifest that are new", diff.columns_added),
        ("Columns of the manifest that are gone", diff.columns_removed),
    )
    for words, names in named:
        if names:
            yield (f"{UNSURE} {words}: ", *_names(names), ".")


def _names(names: list[str] | tuple[str, ...]) -> Line:
    shown = [Name(name) for name in names[:FLAGGED_NAMES]]
    line: Line = (shown[0],)
    for name in shown[1:]:
        line += (", ", name)
    more = len(names) - len(shown)
    return (*line, f" and {more:,} more") if more else line


def _classes(diff: DataDiff) -> Table:
    """Return the table of classes, without the columns that would be empty."""
    shown: dict[Column, list[Line]] = {
        Column("split"): [(Name(row.split),) if row.split else () for row in diff.classes],
        Column("class"): [(Name(row.label),) if row.label else () for row in diff.classes],
        Column("added", True): [_count(row.added) for row in diff.classes],
        Column("removed", True): [_count(row.removed) for row in diff.classes],
        Column("changed", True): [_count(row.changed) for row in diff.classes],
        Column("now", True): [(f"{row.records:,}",) for row in diff.classes],
        Column("new bytes", True): [_size(row.bytes_new) for row in diff.classes],
    }
    used = {column: cells for column, cells in shown.items() if any(cells)}
    return Table(tuple(used), tuple(zip(*used.values(), strict=True)))


def _size(count: int | None) -> Line:
    return () if count == 0 else (size(count),)


def _folders(diff: DataDiff) -> Line:
    line: Line = ("Most changed folders: ",)
    for number, (path, count) in enumerate(diff.folders):
        line += (", " if number else "", Name(path), f" ({count:,})")
    return (*line, ".")


def _count(value: int) -> Line:
    return (f"{value:,}",) if value else ()

"""Which records differ between two manifests, without reading twice what they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clew.records.manifest import Manifest, Row


class Membership(NamedTuple):
    """What the index keeps of a record."""

    record: str
    subject: str
    split: str


class Difference(NamedTuple):
    """Records that left or came; one that changed its subject or split did both."""

    left: list[Membership]
    came: list[Membership]


def difference(before: Manifest | None, now: Manifest) -> Difference:
    """Return what differs between two manifests, in records, subjects and splits."""
    if before is None:
        return Difference([], list(_memberships(now.rows())))
    if before.is_plain and now.is_plain and before.columns == now.columns:
        old, new = _lines_apart(before, now)
    else:
        old, new = before.rows(), now.rows()
    had, has = set(_memberships(old)), set(_memberships(new))
    return Difference(sorted(had - has), sorted(has - had))


def _memberships(rows: Iterable[Row]) -> Iterator[Membership]:
    return (Membership(row.record, row.subject, row.split) for row in rows)


def _lines_apart(before: Manifest, now: Manifest) -> tuple[Iterator[Row], Iterator[Row]]:
    """Return the rows of the lines that only one of the two has."""
    old, new = set(before.lines()), set(now.lines())
    return before.rows_of(old - new), now.rows_of(new - old)

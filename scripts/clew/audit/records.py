"""records and diff: who is in a model, and who is in one and not in another, by their manifests."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from clew.audit.models import known_model
from clew.context import Context
from clew.errors import ConfigError, Unverifiable
from clew.ports import ModelVersion
from clew.records.manifest import Manifest, Row
from clew.records.signed import manifest_of
from clew.trace import MODEL_URI

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula at the start
QUOTED = (*FORMULAS, "'")  # a quote of the cell's own must not pass for one of ours
Named = Callable[[str], str]  # a subject's id → how it is shown


class Membership(NamedTuple):
    """A record of a model's data version."""

    record: str
    subject: str  # as it is shown: the token, or the id where it is revealed
    split: str
    label: str


class Moved(NamedTuple):
    """A record that both models have, otherwise."""

    record: str
    subject: str
    split: tuple[str, str]
    label: tuple[str, str]


@dataclass(frozen=True)
class Diff:
    """Who came and went between two models."""

    came: tuple[Membership, ...]
    went: tuple[Membership, ...]
    moved: tuple[Moved, ...]  # to another split, label or subject
    manifests: tuple[str, str]  # their sha256

    def as_json(self) -> dict[str, Any]:
        return {
            "came": [one._asdict() for one in self.came],
            "went": [one._asdict() for one in self.went],
            "moved": [one._asdict() for one in self.moved],
            "manifests": list(self.manifests),
        }


def model_version(context: Context, uri: str) -> ModelVersion:
    """Return a model version by its URI; ConfigError when there is none."""
    match = MODEL_URI.fullmatch(uri)
    found = match and context.tracker.version(match["name"], match["version"] or match["alias"])
    if not found:
        raise ConfigError(f"there is no model version {uri}", fix="Such as models:/NAME/3.")
    return found


def manifest_of_model(context: Context, uri: str) -> Manifest:
    """Return the signed-off manifest that a model was trained on; Unverifiable when it is lost."""
    found = known_model(context, uri)
    if found.stray:
        raise Unverifiable(
            f"who is in {found.uri} can't be told: {found.stray}",
            fix="Register it with `clew run`, or fetch the log where it was.",
        )
    return manifest_of(context, found.data)


def records_of(manifest: Manifest, split: str | None, named: Named) -> Iterator[Membership]:
    """Yield the records of a manifest, of one split where one is given."""
    for row in manifest.rows():
        if split is None or row.split == split:
            yield Membership(row.record, named(row.subject), row.split, row.label)


def diff(before: Manifest, after: Manifest, named: Named) -> Diff:
    """Return how two manifests differ in records."""
    old = {row.record: row for row in before.rows()}
    new = {row.record: row for row in after.rows()}
    both = sorted(old.keys() & new.keys())
    return Diff(
        came=tuple(_membership(new[one], named) for one in sorted(new.keys() - old.keys())),
        went=tuple(_membership(old[one], named) for one in sorted(old.keys() - new.keys())),
        moved=tuple(
            _moved(old[one], new[one], named) for one in both if _differs(old[one], new[one])
        ),
        manifests=(before.sha256, after.sha256),
    )


def as_csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as CSV that no spreadsheet takes a formula from."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def _safe(cell: str) -> str:
    # https://owasp.org/www-community/attacks/CSV_Injection
    return f"'{cell}" if cell.startswith(QUOTED) else cell


def _membership(row: Row, named: Named) -> Membership:
    return Membership(row.record, named(row.subject), row.split, row.label)


def _differs(old: Row, new: Row) -> bool:
    return (old.subject, old.split, old.label) != (new.subject, new.split, new.label)


def _moved(old: Row, new: Row, named: Named) -> Moved:
    return Moved(new.record, named(new.subject), (old.split, new.split), (old.label, new.label))

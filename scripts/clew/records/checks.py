"""What must hold of a manifest before its data version exists."""

from __future__ import annotations

from dataclasses import dataclass

from clew.context import Context
from clew.errors import ConfigError
from clew.records.manifest import Manifest
from clew.resolve import Resolution


@dataclass(frozen=True)
class Counts:
    """How many records a manifest has, and of how many subjects."""

    records: int
    subjects: int


def refuse_unsound(context: Context, resolution: Resolution, manifest: Manifest) -> Counts:  # noqa: ARG001
    """Return the counts of a sound manifest; ConfigError says what is wrong with another."""
    seen: set[str] = set()
    subjects: set[str] = set()
    for number, row in enumerate(manifest.rows(), start=1):
        if row.record in seen:
            raise ConfigError(
                f"the manifest {manifest.path} has a record id twice, again in record {number}",
                fix="Correct the stage that writes the manifest.",
            )
        seen.add(row.record)
        subjects.add(row.subject)
    return Counts(len(seen), len(subjects))

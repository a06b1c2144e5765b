"""Standing: whether a data version holds records of subjects who no longer agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clew.consent.registry import Statements
from clew.records.manifest import Manifest

Verdict = Literal["clean", "withdrawn", "unverifiable"]
TAG = "clew.consent"  # of a model version: one of these verdicts


@dataclass(frozen=True)
class Standing:
    """How a data version stands to the consent registry."""

    verdict: Verdict
    revoked: int = 0  # subjects in it who revoked
    unknown: int = 0  # subjects in it whom the registry doesn't know: excluded by default
    records: int = 0  # of both
    reason: str = ""  # why it is unverifiable


def standing(manifest: Manifest, statements: Statements) -> Standing:
    """Return how the records of a manifest stand to the registry."""
    subjects: dict[str, int] = {}
    for row in manifest.rows():
        subjects[row.subject] = subjects.get(row.subject, 0) + 1
    unknown = {subject for subject in subjects if subject not in statements}
    revoked = {s for s in subjects.keys() - unknown if statements[s].status != "active"}
    records = sum(subjects[subject] for subject in unknown | revoked)
    verdict: Verdict = "withdrawn" if records else "clean"
    return Standing(verdict, len(revoked), len(unknown), records)

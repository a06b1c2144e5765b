"""Standing: whether a data version holds records of subjects who do not agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clew.consent.registry import Statements
from clew.errors import NotLive, Unverifiable, Withdrawn
from clew.records.manifest import Manifest

Verdict = Literal["clean", "withdrawn", "unverifiable"]
TAG = "clew.consent"  # of a model version: one of these verdicts
OVERRIDE = "clew.consent_override"  # of a model version: why it may be used all the same


@dataclass(frozen=True)
class Standing:
    """How a data version stands to the consent registry."""

    verdict: Verdict
    revoked: int = 0  # subjects in it who revoked
    unknown: int = 0  # subjects in it whom the registry doesn't know: they never agreed
    records: int = 0  # of both
    reason: str = ""  # why it is unverifiable

    def __str__(self) -> str:
        if self.verdict == "clean":
            return "all subjects agree"
        if self.verdict == "unverifiable":
            return f"it can't be told who agrees: {self.reason}"
        parts = ((self.revoked, "who revoked"), (self.unknown, "unknown to the registry"))
        who = " and ".join(f"{count:,} {what}" for count, what in parts if count)
        return f"it holds {self.records:,} records of subjects without consent ({who})"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def standing(manifest: Manifest, statements: Statements) -> Standing:
    """Return how the records of a manifest stand to the registry."""
    subjects = Counter(row.subject for row in manifest.rows())
    unknown = {subject for subject in subjects if subject not in statements}
    revoked = {s for s in subjects.keys() - unknown if statements[s].status != "active"}
    records = sum(subjects[subject] for subject in unknown | revoked)
    verdict: Verdict = "withdrawn" if records else "clean"
    return Standing(verdict, len(revoked), len(unknown), records)


def refuse_withdrawn(found: Standing | None) -> None:
    """Refuse to train on data of subjects who do not agree, as far as that can be told."""
    if found is None or found.verdict == "clean":
        return
    if found.verdict == "unverifiable":
        raise Unverifiable(f"nothing is trained: {found}", fix="Run again when it can be told.")
    raise Withdrawn(
        f"nothing is trained on this data: {found}",
        fix="Take in the registry of the promotion branch, and let the data stage leave them out.",
    )


def refuse_quarantined(model: str, found: Standing | None) -> None:
    """Raise NotLive for a model with withdrawn data, Unverifiable where that can't be told."""
    if found is None or found.verdict == "clean":
        return
    if found.verdict == "unverifiable":
        raise Unverifiable(
            f"{model} must not be used: {found}",
            fix="Restore the evidence, or say why it is used all the same with --override.",
        )
    raise NotLive(
        f"{model} must not be used: {found}",
        fix="Use a model that was trained since, or say why with --override.",
    )

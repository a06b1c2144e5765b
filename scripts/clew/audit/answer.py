"""Answers: a verdict, and everything that it was derived from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

PASS: Literal["PASS"] = "PASS"  # noqa: S105 - a verdict
FAIL: Literal["FAIL"] = "FAIL"
UNVERIFIABLE: Literal["UNVERIFIABLE"] = "UNVERIFIABLE"
Verdict = Literal["PASS", "FAIL", "UNVERIFIABLE"]


@dataclass(frozen=True)
class Evidence:
    """One thing that was looked at, and what it says."""

    what: str
    verdict: Verdict
    found: str
    source: str = ""  # where it was read, with its hash where it has one

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return FAIL where one is, else UNVERIFIABLE where one is, else PASS."""
    found = set(verdicts)
    return FAIL if FAIL in found else UNVERIFIABLE if UNVERIFIABLE in found else PASS

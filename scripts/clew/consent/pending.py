"""pending: who revoked and is in the production model all the same, and how models stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clew.consent.current import authority, standing_of_model
from clew.consent.registry import Statements
from clew.consent.standing import TAG, Standing
from clew.context import Context
from clew.errors import ClewError, NotLive, Unverifiable
from clew.ports import ModelVersion
from clew.records.signed import LINEAGE, manifest_of, model_facts
from clew.wording import counted

DAY = 86_400  # seconds
LATEST = 20  # model versions that are kept up to date, besides those with an alias


@dataclass(frozen=True)
class Revocation:
    """A revocation that the production model does not reflect yet."""

    subject: str  # its id, for whoever may see it; never printed as it is
    revoked_at: datetime
    age_days: float
    overdue: bool


@dataclass(frozen=True)
class Pending:
    """The revocations that production does not reflect."""

    model: str  # its URI, empty while there is none
    revocations: tuple[Revocation, ...] = ()
    deadline_days: float = 0.0
    unverifiable: str = ""

    @property
    def overdue(self) -> int:
        return sum(one.overdue for one in self.revocations)

    @property
    def verdict(self) -> str:
        if self.unverifiable:
            return "UNVERIFIABLE"
        return "FAIL" if self.overdue else "PASS"

    def as_json(self) -> dict[str, Any]:
        """Return it without the subjects' ids."""
        rows = [
            {"revoked_at": r.revoked_at.isoformat(), "age_days": r.age_days, "overdue": r.overdue}
            for r in self.revocations
        ]
        own = {"model": self.model, "verdict": self.verdict, "reason": self.unverifiable}
        return {**own, "deadline_days": self.deadline_days, "revocations": rows}

    def __str__(self) -> str:
        if self.unverifiable:
            return (
                f"which revocations production does not reflect can't be told: {self.unverifiable}"
            )
        if not self.model:
            return "no model is in production, so none has to reflect a revocation"
        if not self.revocations:
            return f"{self.model} reflects all revocations"
        oldest = max(one.age_days for one in self.revocations)
        return (
            f"{self.model} does not reflect {counted(len(self.revocations), 'revocation')}, "
            f"{self.overdue:,} of them past the {self.deadline_days:g} days; "
            f"the oldest is {oldest:.1f} days old"
        )


@dataclass(frozen=True)
class Kept:
    """What the schedule finds of consent."""

    models: Mapping[str, Standing]  # by URI
    pending: Pending

    def as_json(self) -> dict[str, Any]:
        models = {uri: found.as_json() for uri, found in self.models.items()}
        return {"models": models, "pending": self.pending.as_json()}

    def lines(self) -> Iterator[str]:
        for uri, found in self.models.items():
            if found.verdict != "clean":
                yield f"{found.verdict:<12} {uri}: {found}"
        yield f"consent: {self.pending}"

    @property
    def exit_code(self) -> int:
        """What a schedule ends with: 1 when a deadline has passed, 3 when that can't be told."""
        codes = {"PASS": 0, "FAIL": NotLive.exit_code, "UNVERIFIABLE": Unverifiable.exit_code}
        return codes[self.pending.verdict]


def pending(context: Context, now: datetime) -> Pending:
    """Return the revocations that the model with the baseline alias does not reflect."""
    consent, name = context.pipeline.consent, context.pipeline.mlflow.model
    days = consent.deadline_days if consent else 0.0
    model = context.tracker.version(name, context.pipeline.promotion.baseline)
    if model is None:
        return Pending("", deadline_days=days)
    try:
        said = authority(context)
        manifest = manifest_of(context, model_facts(context, model.tags))
        subjects = {row.subject for row in manifest.rows()}
    except ClewError as error:
        return Pending(model.uri, deadline_days=days, unverifiable=error.what)
    found = (
        _revocation(s, said[s].updated_at, now, days) for s in sorted(subjects) if _out(said, s)
    )
    return Pending(model.uri, tuple(found), days)


def kept(context: Context, now: datetime) -> Kept:
    """Bring the consent tags up to date, and return what production does not reflect yet."""
    return Kept(keep_tags(context), pending(context, now))


def keep_tags(context: Context) -> dict[str, Standing]:
    """Bring the consent tags of the models that matter up to date; return how each stands.

    Those are the ones with an alias and the latest. Each data version is read once.
    """
    said = _authority(context)
    standings: dict[str, Standing] = {}
    by_data: dict[tuple[str, ...], Standing | None] = {}
    for version in current_models(context):
        # All that is held against the log: where one was edited, it is another data version.
        data = tuple(version.tags.get(name, version.uri) for name in LINEAGE)
        if data not in by_data:
            by_data[data] = (
                Standing("unverifiable", reason=said)
                if isinstance(said, str)
                else standing_of_model(context, version, said)
            )
        if (found := by_data[data]) is not None:
            context.tracker.tag_version(version, {TAG: found.verdict})
            standings[version.uri] = found
    return standings


def current_models(context: Context) -> list[ModelVersion]:
    """Return the model versions that carry an alias, and the latest."""
    tracker, name = context.tracker, context.pipeline.mlflow.model
    aliased = [tracker.version(name, alias) for alias in tracker.aliases()]
    numbers = {v.version for v in aliased if v} | {
        v.version for v in tracker.latest_versions(LATEST)
    }
    found = (tracker.version(name, str(number)) for number in sorted(numbers))
    return [version for version in found if version is not None]


def _authority(context: Context) -> Statements | str:
    try:
        return authority(context)
    except ClewError as error:
        return error.what


def _out(said: Mapping[str, Any], subject: str) -> bool:
    return subject in said and said[subject].status == "revoked"


def _revocation(subject: str, at: datetime, now: datetime, days: float) -> Revocation:
    age = (now - at).total_seconds() / DAY
    return Revocation(subject, at.astimezone(UTC), age, age > days)

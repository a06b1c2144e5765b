"""pending: who revoked and is in a production model all the same, and how models stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clew.audit.live import live_models
from clew.audit.manifests import presences
from clew.audit.models import Known, known_models
from clew.consent.authority import JUDGING, authority, differing, statements
from clew.consent.registry import Statements
from clew.consent.standing import TAG, Standing, standing
from clew.context import Context
from clew.errors import ClewError, NotLive, Unverifiable
from clew.records.signed import manifest_of
from clew.wording import counted

DAY = 86_400  # seconds


@dataclass(frozen=True)
class Revocation:
    """A revocation that a production model does not reflect yet."""

    subject: str  # its id, for whoever may see it; never printed as it is
    revoked_at: datetime
    age_days: float
    overdue: bool


@dataclass(frozen=True)
class Pending:
    """The revocations that production does not reflect."""

    models: tuple[str, ...] = ()  # URIs of those with the baseline alias, or on an endpoint
    revocations: tuple[Revocation, ...] = ()
    deadline_days: float = 0.0
    unverifiable: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)  # what was read, by its hashes

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
        own = {"models": self.models, "verdict": self.verdict, "reason": self.unverifiable}
        return {**own, "deadline_days": self.deadline_days, "revocations": rows} | {
            "evidence": dict(self.evidence)
        }

    def __str__(self) -> str:
        if self.unverifiable:
            return (
                f"which revocations production does not reflect can't be told: {self.unverifiable}"
            )
        if not self.models:
            return "no model is in production, so none has to reflect a revocation"
        if not self.revocations:
            return f"all revocations are reflected by {', '.join(self.models)}"
        oldest = max(one.age_days for one in self.revocations)
        return (
            f"{counted(len(self.revocations), 'revocation')} not reflected by "
            f"{', '.join(self.models)}, {self.overdue:,} of them past the "
            f"{self.deadline_days:g} days; the oldest is {oldest:.1f} days old"
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
    """Return the revocations that a model with the baseline alias or on an endpoint lacks."""
    found = Pending()
    try:
        held = authority(context)
        if held.problem:
            raise Unverifiable(held.problem)
        consent = held.pipeline.consent
        found = Pending(deadline_days=consent.deadline_days if consent else 0.0)
        models = known_models(context)
        live = live_models(context, models)
        baseline = held.pipeline.promotion.baseline
        used = [one for one in models if live.in_production(one, baseline)]
        found = replace(found, models=tuple(one.uri for one in used), unverifiable=live.problem)
        said = statements(context, held) if used else {}
        registry = "database" if context.consent else str(held.tip or "")
    except ClewError as error:
        return replace(found, unverifiable=error.what)
    gone = {name for name, one in said.items() if one.status == "revoked"}
    there = presences(context, used, gone)
    problems = [live.problem, *(one.doubt for one in used)]
    problems += [one.problem for one in there.values()]
    left = sorted(set().union(*(one.subjects for one in there.values())))
    return replace(
        found,
        revocations=tuple(
            _revocation(name, said[name].updated_at, now, found.deadline_days) for name in left
        ),
        unverifiable="; ".join(filter(None, problems)),
        evidence={
            "registry": registry,
            "log": context.log.head() or "",
            "manifests": {tag: one.sha256 for tag, one in there.items()},
        },
    )


def kept(context: Context, now: datetime) -> Kept:
    """Bring the consent tags up to date, and return what production does not reflect yet."""
    return Kept(keep_tags(context), pending(context, now))


def keep_tags(context: Context) -> dict[str, Standing]:
    """Bring the consent tags of all models up to date; return how each stands.

    What a model was trained on is what the log says. Each data version is read once.
    """
    versions = context.tracker.versions({})
    try:
        held = authority(context)
        if why := differing(context, held, JUDGING):
            raise Unverifiable(why)
        context.log.fetch()
        standings = _standings(context, statements(context, held))
    except ClewError as error:
        unsure = Standing("unverifiable", reason=error.what)
        standings = {(one.uri, one.run_id): unsure for one in versions}
    tagged: dict[str, Standing] = {}
    for version in versions:
        if found := standings.get((version.uri, version.run_id)):
            context.tracker.tag_version(version, {TAG: found.verdict})
            tagged[version.uri] = found
    return tagged


def _standings(context: Context, said: Statements) -> dict[tuple[str, str], Standing]:
    """Return how all models stand, by URI and run."""
    by_data: dict[tuple[tuple[str, str], ...], Standing] = {}
    found = {}
    for one in known_models(context):
        key = tuple(sorted(one.data.items()))
        if not one.problem and key not in by_data:
            by_data[key] = _standing(context, one, said)
        unsure = Standing("unverifiable", reason=one.problem)
        found[one.uri, one.run_id] = unsure if one.problem else by_data[key]
    return found


def _standing(context: Context, model: Known, said: Statements) -> Standing:
    try:
        return standing(manifest_of(context, model.data), said)
    except ClewError as error:
        return Standing("unverifiable", reason=error.what)


def _revocation(subject: str, at: datetime, now: datetime, days: float) -> Revocation:
    age = (now - at).total_seconds() / DAY
    return Revocation(subject, at.astimezone(UTC), age, age > days)

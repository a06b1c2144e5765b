"""opt_out: what a change of the consent registry means for the models that there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from clew.audit.live import live_models
from clew.audit.manifests import presences
from clew.audit.models import known_models
from clew.consent.authority import statements_at
from clew.consent.current import registry_path, standing_at
from clew.consent.registry import Statements
from clew.consent.standing import Standing
from clew.context import Context
from clew.errors import ClewError
from clew.identity import CommitSha
from clew.resolve import Resolution


@dataclass(frozen=True)
class Affected:
    """A model with records of subjects who opt out, or of which that can't be told."""

    model: str  # its URI
    live: tuple[str, ...] = ()  # aliases and endpoints
    subjects: int = 0
    records: int = 0
    problem: str = ""  # why it can't be told


@dataclass(frozen=True)
class OptOut:
    """What a head commit's registry changes, and how the head's own data stands to it."""

    withdrawn: int = 0  # subjects who agree at the base, or were not known, and no more at the head
    granted: int = 0  # subjects who agree only at the head
    affected: tuple[Affected, ...] = ()
    standing: Standing | None = None  # of the head's data; None: it is not made yet
    problem: str = ""  # what could not be told

    @property
    def verdict(self) -> str:
        """PASS when all subjects of the head's data agree: its model can take the others' place."""
        if self.standing is None or self.standing.verdict == "unverifiable":
            return "UNVERIFIABLE"
        return "PASS" if self.standing.verdict == "clean" else "FAIL"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def opt_out(
    context: Context, base: CommitSha, head: CommitSha, resolution: Resolution | None
) -> OptOut | None:
    """Return what a change means for consent; None where it is kept nowhere.

    `resolution` is that of the head, None while its data is not made. No subject is named.
    """
    if context.pipeline.consent is None or context.pipeline.records is None:
        return None
    standing = standing_at(context, resolution) if resolution else None
    try:
        before = _registry(context, base)
        after = statements_at(context, head, registry_path(context))
        gone, granted = _changed(before, after)
        affected, problem = _affected(context, gone) if gone else ((), "")
    except ClewError as error:
        return OptOut(standing=standing, problem=error.what)
    return OptOut(len(gone), len(granted), affected, standing, problem)


def _registry(context: Context, commit: CommitSha) -> Statements:
    """Return what subjects said at the base, nothing where there was no registry yet."""
    path = registry_path(context)
    return {} if context.read(commit, path) == [None] else statements_at(context, commit, path)


def _changed(before: Statements, after: Statements) -> tuple[frozenset[str], frozenset[str]]:
    """Return who agrees no more, and who agrees now; who is taken out agrees no more either."""
    agreed, agree = (
        {s for s, one in said.items() if one.status == "active"} for said in (before, after)
    )
    revoked = {s for s, one in after.items() if one.status == "revoked"}
    unheard = {s for s in revoked if s not in before}
    return frozenset((agreed - agree) | unheard), frozenset(agree - agreed)


def _affected(context: Context, gone: frozenset[str]) -> tuple[tuple[Affected, ...], str]:
    """Return all models with records of these subjects, live ones first, and what failed."""
    context.log.fetch()
    models = known_models(context)
    live = live_models(context, models)
    found = presences(context, models, gone)
    rows = []
    for one in sorted(models, key=lambda one: not live.of(one)):
        presence = found.get(one.data_version)
        problem = one.problem or (presence.problem if presence else "its data version is unknown")
        if problem or presence is None:
            rows.append(Affected(one.uri, live.of(one), problem=problem))
        elif presence.records:
            count = len(presence.subjects)
            rows.append(Affected(one.uri, live.of(one), count, presence.records))
    return tuple(rows), live.problem

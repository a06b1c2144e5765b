"""excluded: the proof that no model since a moment has seen a subject's records, or who has.

The manifests of all models since then are read and held against their hashes; what can't be read,
and who can't be placed, stands against a PASS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from clew.audit.answer import FAIL, PASS, UNVERIFIABLE, Evidence, Verdict, worst
from clew.audit.live import live_models
from clew.audit.manifests import Presence, presences
from clew.audit.models import Known, known_models
from clew.context import Context
from clew.errors import ClewError
from clew.wording import counted


@dataclass(frozen=True)
class Counts:
    """How much was looked at."""

    models: int = 0  # registered since
    manifests: int = 0  # read, with the bytes that were signed off
    unreadable: int = 0  # data versions of these models that are not
    deleted: int = 0  # models of which MLflow has no version or no run any more
    earlier_and_live: int = 0  # models from before that hold the subject and are live


@dataclass(frozen=True)
class Excluded:
    """The answer."""

    since: datetime
    verdict: Verdict
    reason: str
    counts: Counts
    evidence: tuple[Evidence, ...] = ()
    earlier: tuple[Evidence, ...] = ()  # models from before that are live
    log: str = ""  # the entry up to which the log was read

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "since": self.since.isoformat(),
            "counts": asdict(self.counts),
            "log": self.log,
            "evidence": [one.as_json() for one in self.evidence],
            "earlier": [one.as_json() for one in self.earlier],
        }


def excluded(
    context: Context,
    subject: str,
    since: datetime,
    *,
    deployed: bool = False,
    allow_empty: bool = False,
    allow_deleted: bool = False,
    doubt: str = "",
) -> Excluded:
    """Return whether models registered since a moment hold a subject's records.

    `deployed` counts models from before that are live, too; `allow_empty` takes no models for an
    answer, `allow_deleted` the log's word alone for models that MLflow has no more. `doubt` says
    why the moment may be another.
    """
    try:
        context.log.fetch()
        models = known_models(context)
        live = live_models(context, models)
        unlogged = context.log.unlogged()
    except ClewError as error:
        return Excluded(since, UNVERIFIABLE, error.what, Counts())
    after = [one for one in models if one.latest >= since]
    before = [one for one in models if one.latest < since and live.of(one)]
    found = presences(context, [*after, *before], {subject})
    evidence, earlier = (
        tuple(_judged(one, found, start, allow_deleted=allow_deleted) for one in some)
        for some, start in ((after, since), (before, None))
    )
    counts = _counts(after, found, earlier)
    verdict, reason = _verdict(evidence, earlier if deployed else (), allow_empty=allow_empty)
    doubts = [doubt, live.problem if deployed else "", _gaps(unlogged)]
    if verdict == PASS and any(doubts):
        verdict, reason = UNVERIFIABLE, "; ".join(filter(None, doubts))
    return Excluded(since, verdict, reason, counts, evidence, earlier, context.log.head() or "")


def _gaps(unlogged: list[str]) -> str:
    if not unlogged:
        return ""
    return (
        f"the log has no entry of {unlogged[0]}, of which there is a tag "
        f"({counted(len(unlogged), 'such data version')}): what was trained on it is unknown"
    )


def _judged(
    model: Known,
    found: Mapping[str, Presence],
    since: datetime | None,
    *,
    allow_deleted: bool,
) -> Evidence:
    presence = found.get(model.data_version)
    words = f"{model.source}; {model.data_version}"
    source = f"{words}, manifest sha256 {presence.sha256}" if presence else words
    where = f", {', '.join(model.aliases)}" if model.aliases else ""
    what = f"{model.uri}{where}{f', {model.deleted} deleted' if model.deleted else ''}"
    problem = model.problem or (presence.problem if presence else "its data version is unknown")
    if problem or presence is None or presence.records is None:
        return Evidence(what, UNVERIFIABLE, problem, source)
    if not presence.records and not presence.signed:
        return Evidence(what, UNVERIFIABLE, "nobody signed its manifest off", source)
    doubt = model.stray or ("" if allow_deleted else model.lost)
    if not presence.records and doubt:
        return Evidence(what, UNVERIFIABLE, doubt, source)
    if not presence.records:
        return Evidence(what, PASS, "holds no record of the subject", source)
    held = counted(presence.records, "record")
    said = f"holds {held} of the subject, in {', '.join(presence.splits)}"
    if since is not None and min(model.times) < since:
        times = ", ".join(moment.isoformat() for moment in model.times)
        return Evidence(what, UNVERIFIABLE, f"{said}; its times disagree ({times})", source)
    return Evidence(what, FAIL, said, source)


def _verdict(
    evidence: tuple[Evidence, ...], earlier: tuple[Evidence, ...], *, allow_empty: bool
) -> tuple[Verdict, str]:
    verdict = worst(one.verdict for one in (*evidence, *earlier))
    if verdict == PASS and not evidence and not allow_empty:
        return UNVERIFIABLE, "no model was registered since, so nothing was shown"
    if verdict == PASS:
        return PASS, f"{counted(len(evidence), 'model')}, none with a record of the subject"
    bad = [one for one in (*evidence, *earlier) if one.verdict == verdict]
    return verdict, "; ".join(_reasons(bad))


def _reasons(bad: list[Evidence], shown: int = 3) -> Iterator[str]:
    for one in bad[:shown]:
        yield f"{one.what}: {one.found}"
    if len(bad) > shown:
        yield f"and {len(bad) - shown} more"


def _counts(
    after: list[Known], found: Mapping[str, Presence], earlier: tuple[Evidence, ...]
) -> Counts:
    tags = {one.data_version for one in after}
    read = [one for tag, one in found.items() if tag in tags]
    unplaced = sum(bool(one.problem) or not one.data_version for one in after)
    return Counts(
        models=len(after),
        manifests=sum(one.records is not None and one.signed for one in read),
        unreadable=sum(one.records is None for one in read) + unplaced,
        deleted=sum(bool(one.deleted) for one in after),
        earlier_and_live=sum(one.verdict != PASS for one in earlier),
    )

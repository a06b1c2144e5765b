"""subject: in which data versions and models a subject's records are, by the index."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clew.audit.answer import FAIL, PASS, UNVERIFIABLE, Evidence, Verdict, worst
from clew.audit.live import live_models
from clew.audit.manifests import presences
from clew.audit.models import Known, known_models
from clew.context import Context
from clew.errors import Unverifiable
from clew.records.index import IndexedModel, IndexedVersion, Interval, RecordIndex, ranges
from clew.records.ingest import hold_to_vault
from clew.records.tokens import Token, Tokens


@dataclass(frozen=True)
class Appearance:
    """A data version that holds records of the subject."""

    data_version: str
    data_git_commit_id: str
    manifest_sha256: str
    at: str  # when the log saw it, UTC
    records: int
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Holder:
    """A model that was trained on such a data version."""

    model: str
    data_version: str
    registered: str  # when the log saw it, UTC
    live: tuple[str, ...] = ()  # aliases and endpoints
    deleted: str = ""  # what of it MLflow has no more: the version, or its run


@dataclass(frozen=True)
class Subject:
    """The answer."""

    token: Token | None  # None: the vault never saw the subject
    verdict: Verdict  # PASS: all of it could be told
    offline: bool
    log: str  # the entry up to which it was asked
    versions: tuple[Appearance, ...] = ()
    models: tuple[Holder, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def as_json(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "evidence"}
        return {
            **own,
            "versions": [vars(one) for one in self.versions],
            "models": [vars(one) for one in self.models],
            "evidence": [one.as_json() for one in self.evidence],
        }


def subject_by_index(context: Context, tokens: Tokens, index: RecordIndex, subject: str) -> Subject:
    """Return what the log and the index know, asking nobody else.

    Raises Unverifiable when the index is damaged, behind the log, or of another key or vault.
    """
    refuse_unfit(context, tokens, index)
    token = tokens.find(subject)
    intervals = index.find(token) if token else []
    spans = ranges(intervals)
    versions = index.versions_in(spans)
    unknown = [
        Evidence(one.data_version, UNVERIFIABLE, one.problem, f"log entry {one.entry[:12]}")
        for one in index.unknown()
    ]
    lost = [
        Evidence(one.uri, UNVERIFIABLE, "the log does not have its data version")
        for one in index.unplaced()
    ]
    return Subject(
        token=token,
        verdict=worst(one.verdict for one in (*unknown, *lost)),
        offline=True,
        log=index.head() or "",
        versions=tuple(_appearances(versions, intervals)),
        models=tuple(_holders(index.models(spans), versions)),
        evidence=(*unknown, *lost),
    )


def refuse_unfit(context: Context, tokens: Tokens, index: RecordIndex) -> None:
    """Refuse an index whose answers are not those of the log and the vault."""
    if index.head() != context.log.head():
        raise Unverifiable("the index is not that of the log", fix="Run `clew index update`.")
    hold_to_vault(tokens, index)


def subject_everywhere(
    context: Context,
    found: Subject,
    subject: str,
) -> Subject:
    """Return the same with what MLflow and SageMaker say now, held against the manifests."""
    models = known_models(context)
    live = live_models(context, models)
    held = {one.model for one in found.models}
    there = presences(context, models, {subject})
    evidence = [*found.evidence, *(_cross_check(one, there, held) for one in models)]
    if live.problem:
        evidence.append(Evidence("where models are live", UNVERIFIABLE, live.problem))
    evidence += [
        Evidence(tag, UNVERIFIABLE, "it has a tag, and the log has no entry of it")
        for tag in context.log.unlogged()
    ]
    holders = [
        Holder(
            one.uri,
            one.data_version,
            one.latest.isoformat(),
            live.of(one),
            one.deleted,
        )
        for one in models
        if one.uri in held or _holds(one, there)
    ]
    return Subject(
        token=found.token,
        verdict=UNVERIFIABLE if any(e.verdict != PASS for e in evidence) else PASS,
        offline=False,
        log=found.log,
        versions=found.versions,
        models=tuple(holders),
        evidence=tuple(evidence),
    )


def _holds(model: Known, there: Mapping[str, Any]) -> bool:
    presence = there.get(model.data_version)
    return bool(presence and presence.records)


def _cross_check(model: Known, there: Mapping[str, Any], held: set[str]) -> Evidence:
    """Hold what the index says of a model against its manifest."""
    presence = there.get(model.data_version)
    if presence is None or presence.records is None or model.problem:
        problem = model.problem or (presence.problem if presence else "its data version is unknown")
        return Evidence(model.uri, UNVERIFIABLE, problem, model.source)
    source = f"{model.data_version}, manifest sha256 {presence.sha256}"
    if not presence.signed:
        return Evidence(model.uri, UNVERIFIABLE, "nobody signed its manifest off", source)
    said = f"its manifest has {presence.records:,} records of the subject"
    if model.stray:
        return Evidence(model.uri, UNVERIFIABLE, f"{said}; {model.stray}", source)
    if bool(presence.records) != ((model.copy_of or model.uri) in held):
        return Evidence(model.uri, FAIL, f"{said}, and the index says otherwise", source)
    return Evidence(model.uri, PASS, said, source)


def _appearances(
    versions: Iterable[IndexedVersion], intervals: Sequence[Interval]
) -> Iterator[Appearance]:
    """Yield the data versions that hold intervals, both in the order of their numbers."""
    coming, there = deque(intervals), list[Interval]()
    for one in versions:
        gone = [i for i in there if i.last < one.number]
        if gone or (coming and coming[0].first <= one.number):
            there = [i for i in there if i.last >= one.number]
            while coming and coming[0].first <= one.number:
                there.append(coming.popleft())
            splits = tuple(sorted({i.split for i in there}))
        if not one.problem:
            facts = one.facts
            yield Appearance(
                one.data_version,
                facts["data_git_commit_id"],
                facts.get("manifest_sha256", ""),
                one.at.isoformat(),
                len(there),
                splits,
            )


def _holders(
    models: Iterable[IndexedModel], versions: Iterable[IndexedVersion]
) -> Iterator[Holder]:
    tags = {one.number: one.data_version for one in versions}
    for one in models:
        yield Holder(one.uri, tags[one.number], one.at)

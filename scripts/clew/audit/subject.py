"""subject: in which data versions and models a subject's records are, by the index."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clew.audit.answer import UNVERIFIABLE, Evidence, Verdict, worst
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

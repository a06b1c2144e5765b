"""Ingest: bring the index up to the log, one data version after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clew.context import Context
from clew.errors import ClewError, Unverifiable
from clew.identity import CommitSha
from clew.log import DATA, Entry
from clew.records.difference import difference
from clew.records.index import IndexedModel, IndexedVersion, Joining, RecordIndex
from clew.records.manifest import Manifest
from clew.records.signed import manifest_of
from clew.records.tokens import Tokens

Read = Callable[[Mapping[str, str]], Manifest]  # Unverifiable where it can't


@dataclass(frozen=True)
class Ingested:
    """What an index took in."""

    versions: int
    models: int
    problems: tuple[str, ...]  # of all data versions whose records are unknown

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def update(context: Context, tokens: Tokens, index: RecordIndex) -> Ingested:
    """Take in what the log has and the index has not; what was begun before goes on.

    Unverifiable when the index goes up to an entry that the log does not have, or when the vault
    is not the one it was built with.
    """
    index.begin(tokens.id)
    hold_to_vault(tokens, index)
    entries = context.log.logged()
    new = entries[_known(entries, index.head()) :]
    taker = Ingest(tokens, index, lambda facts: manifest_of(context, facts))
    for done, entry in enumerate(new, start=1):
        taker.take_in(entry)
        context.reporter.progress("took in", done, len(new), "log entries")
    problems = tuple(f"{v.data_version}: {v.problem}" for v in index.unknown())
    data = sum(entry.kind == DATA for entry in new)
    return Ingested(data, len(new) - data, problems)


def hold_to_vault(tokens: Tokens, index: RecordIndex) -> None:
    """Refuse another vault than the index was built with, or an older copy of it."""
    bound, generation = index.tokens_id(), index.generation()
    if bound != tokens.id and (bound or index.head()):
        raise Unverifiable(
            f"the index was built with the key and vault {bound}, not {tokens.id}",
            fix="Use those, or make it anew: clew index build",
        )
    if generation and not tokens.had(generation):
        raise Unverifiable(
            "the vault lacks salts that it had when the index was built: it is an older copy",
            fix="Restore the latest one, or make the index anew: clew index build",
        )


class Ingest:
    """Takes in the entries of a log in their order."""

    def __init__(self, tokens: Tokens, index: RecordIndex, read: Read) -> None:
        self._tokens, self._index, self._read = tokens, index, read
        known = index.versions()
        self._numbers = {one.data_version: one.number for one in known}
        self._last = next((one for one in reversed(known) if not one.problem), None)
        self._before: Manifest | None = None

    def take_in(self, entry: Entry) -> None:
        """Take in one entry; a manifest that can't be read is a problem of its data version.

        Unverifiable when the manifest before it, which was taken in, can't be read any more.
        """
        if entry.kind == DATA:
            self._take_in_version(entry)
        else:
            facts = entry.facts
            number = self._numbers.get(facts.get("data_version", ""), 0)
            self._index.add_model(
                IndexedModel(
                    entry.id, entry.at.isoformat(), number, facts["model"], facts["run_id"]
                )
            )

    def _take_in_version(self, entry: Entry) -> None:
        before = self._previous()
        version = self._version(entry)
        self._numbers[version.data_version] = version.number
        try:
            now = self._read(entry.facts)
            change = difference(before, now)
        except ClewError as error:
            self._index.add_version(replace(version, problem=error.what), (), ())
            return
        tokens = self._tokens.of(one.subject for one in change.came)
        self._index.need(self._tokens.generation())
        joining = (Joining(one.record, tokens[one.subject], one.split) for one in change.came)
        self._index.add_version(version, (one.record for one in change.left), joining)
        self._before = now

    def _version(self, entry: Entry) -> IndexedVersion:
        facts = entry.facts
        return IndexedVersion(
            number=len(self._numbers) + 1,
            entry=entry.id,
            at=entry.at,
            facts=facts,
        )

    def _previous(self) -> Manifest | None:
        """Return the last manifest that was taken in, None when there was none."""
        if self._before is None and self._last is not None:
            self._before = self._read(self._last.facts)
        return self._before


def _known(entries: list[Entry], head: CommitSha | None) -> int:
    """Return how many entries the index has taken in already."""
    if head is None:
        return 0
    for number, entry in enumerate(entries, start=1):
        if entry.id == head:
            return number
    raise Unverifiable(
        f"the index goes up to the entry {head[:12]}, which the log does not have",
        fix="Make it anew from the manifests: clew index build",
    )

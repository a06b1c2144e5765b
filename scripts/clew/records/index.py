"""The index: in which data versions a subject's records are; a cache over signed-off manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from clew.identity import CommitSha
from clew.records.tokens import Token


class Interval(NamedTuple):
    """A record in one split, in all data versions from the first to the last."""

    record: str
    split: str
    first: int  # numbers of data versions, both included
    last: int


class Joining(NamedTuple):
    """A record that a data version has, and the one before had not, or had otherwise."""

    record: str
    token: Token
    split: str


@dataclass(frozen=True)
class IndexedVersion:
    """A data version as the log has it, and how its manifest was found."""

    number: int  # 1, 2, … in the order of the log's `data` entries
    entry: CommitSha  # of the log
    at: datetime  # of that entry
    facts: Mapping[str, str]
    problem: str = ""  # why its manifest could not be taken in: its records are then unknown

    @property
    def data_version(self) -> str:
        return self.facts["data_version"]


class IndexedModel(NamedTuple):
    """A model version as the log has it."""

    entry: CommitSha  # of the log
    at: str  # when that was written, ISO 8601 in UTC
    number: int  # of its data version; 0 where the log has no such
    uri: str
    run_id: str


class RecordIndex(Protocol):
    """The index of one pipeline; Unverifiable wherever it is found damaged."""

    def head(self) -> CommitSha | None:
        """Return the log's entry up to which it goes, None while it is empty."""

    def tokens_id(self) -> str:
        """Return the id of the tokens it was built with, empty while it is empty."""

    def subjects(self) -> int:
        """Return how many subjects it knows."""

    def generation(self) -> str:
        """Return the vault's generation that it needs, empty while it is empty."""

    def versions(self) -> list[IndexedVersion]:
        """Return all of them, in order."""

    def versions_in(self, numbers: Sequence[tuple[int, int]]) -> list[IndexedVersion]:
        """Return those in these ranges, both ends included, and read no others."""

    def unknown(self) -> list[IndexedVersion]:
        """Return those whose manifest could not be taken in."""

    def find(self, token: Token) -> list[Interval]:
        """Return all intervals of a subject's records, in the order of first versions."""

    def models(self, numbers: Sequence[tuple[int, int]]) -> list[IndexedModel]:
        """Return the models of the data versions in these ranges, both ends included."""

    def unplaced(self) -> list[IndexedModel]:
        """Return the models whose data version the log does not have."""

    def begin(self, tokens_id: str) -> None:
        """Bind an empty index to tokens; Unverifiable when it was built with others."""

    def need(self, generation: str) -> None:
        """Note the vault's generation in which the tokens that come next have their salts."""

    def add_version(
        self, version: IndexedVersion, leaving: Iterable[str], joining: Iterable[Joining]
    ) -> None:
        """Take in a data version by what differs from the one before, at once or not at all."""

    def add_model(self, model: IndexedModel) -> None: ...


def ranges(intervals: Iterable[Interval]) -> list[tuple[int, int]]:
    """Return the data versions of intervals as ranges that don't touch, the first first."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((one.first, one.last) for one in intervals):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found

"""The index: in which data versions a subject's records are; a cache over signed-off manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from clew.identity import CommitSha
from clew.records.tokens import Token


class Interval(NamedTuple):
    """A record in one split, in all data versions from the first to the last."""

    record: str
    split: str
    first: int  # numbers of data versions, both included
    last: int


@dataclass(frozen=True)
class IndexedVersion:
    """A data version as the log has it, and how its manifest was found."""

    number: int  # 1, 2, … in the order of the log's `data` entries
    entry: CommitSha  # of the log
    data_version: str
    data_git_commit_id: CommitSha
    manifest_sha256: str
    records: int
    problem: str = ""  # why its manifest could not be taken in; its records are then unknown


class RecordIndex(Protocol):
    """The index of one pipeline."""

    def head(self) -> CommitSha | None:
        """Return the log's entry up to which it goes, None while it is empty.

        Unverifiable when it is damaged or was built under another key.
        """

    def versions(self) -> list[IndexedVersion]: ...

    def find(self, token: Token) -> list[Interval]:
        """Return all intervals of a subject's records, in the order of first versions."""

"""The log: which data versions and model versions there were, in the order they were first seen.

It is a chain of Git commits of its own, so nobody can drop or change an entry without every later
one changing too, and it outlives MLflow's runs. Entries are facts as text; none holds a subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from clew.identity import CommitSha

DATA, MODEL = "data", "model"
KEYS = {DATA: ("data_version",), MODEL: ("model", "run_id")}  # what makes an entry the same one


@dataclass(frozen=True)
class Entry:
    """One thing that was seen for the first time."""

    number: int  # 1, 2, …
    id: CommitSha  # of the entry's own commit, which covers all before it
    at: datetime  # UTC, by the clock of the machine that wrote it
    kind: str  # data | model
    facts: Mapping[str, str]

    @property
    def key(self) -> tuple[str, ...]:
        return key_of(self.kind, self.facts)

    def as_json(self) -> dict[str, Any]:
        seen = {"number": self.number, "id": self.id, "at": self.at.isoformat()}
        return {**seen, "kind": self.kind, **self.facts}


@dataclass(frozen=True)
class Draft:
    """An entry that is to be written."""

    kind: str
    facts: Mapping[str, str]

    @property
    def key(self) -> tuple[str, ...]:
        return key_of(self.kind, self.facts)


class Log(Protocol):
    """The log of one pipeline, here and in the Git remote."""

    def logged(self) -> list[Entry]:
        """Return all entries, the first first, as this clone has them.

        Unverifiable when one can't be read, or what the remote had is not among them.
        """

    def head(self) -> CommitSha | None:
        """Return the id of the last entry, None while there is none."""

    def fetch(self) -> None:
        """Bring the remote's entries here, all of them; where there is no remote, what it once had.

        Unverifiable when the remote's log is not a continuation of what was seen of it before,
        OutsideError when it can't be asked.
        """

    def unlogged(self) -> list[str]:
        """Return the data versions of which there is a tag, here or in the remote, and no entry.

        The remote's tags are those that the last `fetch` saw.
        """
        return []

    def append(self, drafts: Sequence[Draft], *, publish: bool) -> None:
        """Add the entries that are not there yet, after all that the remote has.

        With `publish` they are pushed too. Of two that write at once, both end up in the log.
        Unverifiable when the remote has data versions that were logged, and their log no more.
        """


def key_of(kind: str, facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return what makes an entry the same one; the log has each only once."""
    return (kind, *(facts.get(name, "") for name in KEYS.get(kind, ())))

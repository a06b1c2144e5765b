"""since: which moment a person means, and what there is to doubt about it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time

from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.identity import CommitSha
from clew.log import Entry

COMMITS = ("code_git_commit_id", "data_git_commit_id")
UNCHECKED = (
    "nothing in the log stands on that commit, so the clock of whoever made it is alone in saying "
    "when that was: name a time"
)


def since(context: Context, text: str, now: datetime) -> datetime:
    """Return a moment in UTC: a time with zone, a day (its start in UTC), a data version or commit.

    A data version means when the log first saw it; a commit when it was made, and no later than
    the log saw what stands on it. ConfigError for anything else, and for a moment that has not
    come: nothing can be shown of what is registered from then on.
    """
    found, _ = _meant(context, text)
    if found > now:
        raise ConfigError(f"{text!r} is in the future", fix="Name a moment that has been.")
    return found


def doubt_of(context: Context, text: str) -> str:
    """Return why the moment that is meant may have been an earlier one, empty where it may not."""
    return _meant(context, text)[1]


def _meant(context: Context, text: str) -> tuple[datetime, str]:
    entries = context.log.logged()
    for number, entry in enumerate(entries):
        if entry.facts.get("data_version") == text:
            return _seen(entries[number:])
    if "-" not in text:  # an abbreviated commit may be all digits
        return _committed(context, entries, text)
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time(), UTC), ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _committed(context, entries, text)
    if found.tzinfo is None:
        raise ConfigError(f"{text!r} has no time zone", fix=f"Such as {text}Z or {text}+01:00.")
    return found.astimezone(UTC), ""


def _committed(context: Context, entries: list[Entry], text: str) -> tuple[datetime, str]:
    repository = context.project.repository
    try:
        commit = repository.commit(text)
        said = datetime.fromtimestamp(repository.facts(commit).time, UTC)
    except ClewError as error:
        raise ConfigError(
            f"{text!r} is no time, data version or commit",
            fix="Such as 2026-03-01, 2026-03-01T12:00Z, data/NAME/0123456789ab or a commit.",
        ) from error
    named = {CommitSha(e.facts[key]) for e in entries for key in COMMITS if key in e.facts}
    after = repository.descendants(commit, named)
    for number, entry in enumerate(entries):
        if not after.isdisjoint(entry.facts.get(key, "") for key in COMMITS):
            seen, doubt = _seen(entries[number:])
            return min(said, seen), doubt
    return said, UNCHECKED


def _seen(entries: list[Entry]) -> tuple[datetime, str]:
    """Return when the first entry was written, and what those after it say against that."""
    first = entries[0]
    before = next((one for one in entries if one.at < first.at), None)
    if before is None:
        return first.at, ""
    said = f"log entry {before.number} comes after entry {first.number} and is dated before it"
    return first.at, f"{said}, so when that was is uncertain: name a time"

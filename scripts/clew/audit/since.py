"""since: which moment a person means."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time

from clew.context import Context
from clew.errors import ClewError, ConfigError


def since(context: Context, text: str, now: datetime) -> datetime:
    """Return a moment in UTC: a time with zone, a day (its start in UTC), a data version or commit.

    A data version means when the log first saw it. ConfigError for anything else, and for a moment
    that has not come: nothing can be shown of what is registered from then on.
    """
    found = _moment(context, text)
    if found > now:
        raise ConfigError(f"{text!r} is in the future", fix="Name a moment that has been.")
    return found


def _moment(context: Context, text: str) -> datetime:
    for entry in context.log.logged():
        if entry.facts.get("data_version") == text:
            return entry.at
    if "-" not in text:  # an abbreviated commit may be all digits
        return _committed(context, text)
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _committed(context, text)
    if found.tzinfo is None:
        raise ConfigError(f"{text!r} has no time zone", fix=f"Such as {text}Z or {text}+01:00.")
    return found.astimezone(UTC)


def _committed(context: Context, text: str) -> datetime:
    repository = context.project.repository
    try:
        return datetime.fromtimestamp(repository.facts(repository.commit(text)).time, UTC)
    except ClewError as error:
        raise ConfigError(
            f"{text!r} is no time, data version or commit",
            fix="Such as 2026-03-01, 2026-03-01T12:00Z, data/NAME/0123456789ab or a commit.",
        ) from error

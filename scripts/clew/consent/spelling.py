"""Spelling: whether anybody is called by an id, so that a mistyped one proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from clew.consent.change import present
from clew.consent.registry import folded
from clew.context import Context
from clew.errors import ClewError
from clew.records.signed import data_entries, manifest_of

ALIKE = "another subject's id looks the same, and no registry and no manifest has this one"
UNKNOWN = "no registry and no manifest that can be read has this id: is it spelled as in the data?"


def doubt(context: Context, subject: str) -> str:
    """Return ALIKE or UNKNOWN for an id that nobody has, empty for one that somebody has."""
    seen: set[str] = set()
    for name in _ids(context):
        if name == subject:
            return ""
        seen.add(name)
    own = folded(subject)
    return ALIKE if any(folded(name) == own for name in seen) else UNKNOWN


def _ids(context: Context) -> Iterator[str]:
    """Yield all ids, those of the registry first: they need no data."""
    if context.pipeline.consent is not None:
        with suppress(ClewError):
            yield from present(context)
    for entry in data_entries(context.log.logged()):
        with suppress(ClewError):
            for row in manifest_of(context, entry.facts).rows():
                yield row.subject

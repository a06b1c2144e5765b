"""Manifests: each data version of some models read once, and who is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from clew.audit.models import Known
from clew.context import Context
from clew.errors import ClewError
from clew.records.signed import manifest_of

AT_ONCE = 4


@dataclass(frozen=True)
class Presence:
    """Whether a subject is in one data version."""

    data_version: str
    sha256: str = ""  # of the manifest
    records: int | None = None  # of the subject; None: it can't be told
    splits: tuple[str, ...] = ()
    signed: bool = False  # whether the log has that sha256
    problem: str = ""


def presences(context: Context, models: Iterable[Known], subject: str) -> dict[str, Presence]:
    """Return whether a subject is in the data versions of some models, by data version.

    The manifests' own bytes are read, not the index.
    """
    wanted = {one.data_version: one.data for one in models if one.data_version}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done: dict[str, Presence] = {}
        found = pool.map(lambda tag: _presence(context, wanted[tag], subject), wanted)
        for number, (tag, one) in enumerate(zip(wanted, found, strict=True), start=1):
            done[tag] = one
            context.reporter.progress("read", number, len(wanted), "manifests")
    return done


def _presence(context: Context, facts: Mapping[str, str], subject: str) -> Presence:
    tag = facts["data_version"]
    try:
        manifest = manifest_of(context, facts)
        splits = [row.split for row in manifest.rows() if row.subject == subject]
    except ClewError as error:
        return Presence(tag, problem=error.what)
    signed = "manifest_sha256" in facts
    return Presence(tag, manifest.sha256, len(splits), tuple(sorted(set(splits))), signed)

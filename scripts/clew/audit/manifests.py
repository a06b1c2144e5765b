"""Manifests: each data version of some models read once, and who of some subjects is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from clew.audit.models import Known
from clew.context import Context
from clew.errors import ClewError
from clew.records.signed import manifest_of

AT_ONCE = 4


@dataclass(frozen=True)
class Presence:
    """Whether some subjects are in one data version."""

    data_version: str
    sha256: str = ""  # of the manifest
    records: int | None = None  # of the subjects; None: it can't be told
    subjects: frozenset[str] = frozenset()  # those who are in it, by their own ids
    splits: tuple[str, ...] = ()
    signed: bool = False  # whether the log has that sha256
    problem: str = ""


def presences(context: Context, models: Iterable[Known], subjects: Set[str]) -> dict[str, Presence]:
    """Return whether some subjects are in the data versions of some models, by data version.

    The manifests' own bytes are read, not the index.
    """
    # Where two say different things of one data version, what is not in doubt counts.
    doubtful_first = sorted(models, key=lambda one: not one.problem)
    wanted = {one.data_version: one.data for one in doubtful_first if one.data_version}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done: dict[str, Presence] = {}
        found = pool.map(lambda tag: _presence(context, wanted[tag], subjects), wanted)
        for number, (tag, one) in enumerate(zip(wanted, found, strict=True), start=1):
            done[tag] = one
            context.reporter.progress("read", number, len(wanted), "manifests")
    return done


def _presence(context: Context, facts: Mapping[str, str], subjects: Set[str]) -> Presence:
    tag = facts["data_version"]
    try:
        manifest = manifest_of(context, facts)
        rows = [row for row in manifest.rows() if row.subject in subjects]
    except ClewError as error:
        return Presence(tag, problem=error.what)
    signed = "manifest_sha256" in facts
    who = frozenset(row.subject for row in rows)
    splits = tuple(sorted({row.split for row in rows}))
    return Presence(tag, manifest.sha256, len(rows), who, splits, signed)

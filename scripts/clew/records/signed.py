"""Signed-off manifests: read again, and held against what the log says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from clew.config.model import Records
from clew.context import Context
from clew.errors import ClewError, Unverifiable
from clew.identity import CommitSha, data_fingerprint
from clew.log import DATA, Entry
from clew.records.manifest import Manifest, read_manifest
from clew.resolve import Pointers, pointers_then

LINEAGE = ("data_version", "data_fingerprint", "data_git_commit_id")
COLUMNS = ("subject", "record", "split", "label", "file", "sha256")
LOST = "Restore its data from a backup; without it nobody can tell who is in this version."


def data_entries(entries: list[Entry]) -> list[Entry]:
    """Return the data versions, in the order the log saw them."""
    return [entry for entry in entries if entry.kind == DATA]


def column_names(records: Records) -> str:
    """Return the names of the columns, as the log's entry keeps them."""
    return json.dumps({name: getattr(records, name) for name in COLUMNS})


def manifest_of(context: Context, facts: Mapping[str, str]) -> Manifest:
    """Return the manifest of a data version, with the bytes that were signed off.

    `facts` are those of its log entry. Unverifiable says what is missing or differs.
    """
    tag = facts["data_version"]
    if "manifest" not in facts:
        raise Unverifiable(
            f"the log has no manifest of {tag}: pipeline.yaml had no `records` then",
            fix="Who is in it can't be told from a manifest.",
        )
    try:
        names = replace(Records(facts["manifest"]), **json.loads(facts["manifest_columns"]))
        manifest = read_manifest(context.store, pointers_of(context, facts), names)
    except ClewError as error:
        raise Unverifiable(f"the manifest of {tag} can't be had: {error.what}", fix=LOST) from error
    if facts.get("manifest_sha256", manifest.sha256) != manifest.sha256:
        raise Unverifiable(
            f"the manifest of {tag} has the sha256 {manifest.sha256}, "
            f"and {facts['manifest_sha256']} was signed off",
            fix=LOST,
        )
    return manifest


def model_facts(context: Context, chain: Mapping[str, str]) -> Mapping[str, str]:
    """Return the log's facts of a model's data version, see `facts_of`."""
    return facts_of(context, signed_versions(context.log.logged()), chain)


def signed_versions(entries: list[Entry]) -> dict[str, Mapping[str, str]]:
    """Return what the log says of each data version."""
    return {entry.facts["data_version"]: entry.facts for entry in data_entries(entries)}


def facts_of(
    context: Context, signed: Mapping[str, Mapping[str, str]], chain: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the log's facts of a model's data version, from the model's own lineage.

    Unverifiable when the two contradict each other. A model from before there was a log has no
    entry: then its manifest is that of its data commit, signed off by nobody.
    """
    if missing := [name for name in LINEAGE if name not in chain]:
        raise Unverifiable(f"the model does not say what it was trained on: no {missing[0]}")
    own = {name: chain[name] for name in LINEAGE}
    if facts := signed.get(chain["data_version"]):
        if differing := [name for name in LINEAGE if facts[name] != chain[name]]:
            raise Unverifiable(
                f"the model's {differing[0]} is not the one that the log has",
                fix="Somebody changed its tags: `clew trace` shows which.",
            )
        return facts
    records = context.pipeline.records
    if records is None:
        return own
    return own | {"manifest": records.manifest, "manifest_columns": column_names(records)}


def subjects(context: Context) -> Iterator[str]:
    """Yield the subjects of all signed-off manifests, many of them several times."""
    for entry in data_entries(context.log.logged()):
        for row in manifest_of(context, entry.facts).rows():
            yield row.subject


def pointers_of(context: Context, facts: Mapping[str, str]) -> Pointers:
    """Return the pointers of a data version; Unverifiable when they are not the signed-off ones."""
    commit = CommitSha(facts["data_git_commit_id"])
    repository = context.project.repository
    if repository.object_ids([(commit, "")]) == [None]:
        repository.fetch_tag(facts["data_version"])
    pointers = pointers_then(context.project, context.pipeline, commit)
    if data_fingerprint(pointers) != facts["data_fingerprint"]:
        raise Unverifiable(f"the pointers at {commit[:12]} are not those that were signed off")
    return pointers

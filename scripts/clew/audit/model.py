"""model: the whole chain of one model and every check on it."""

from __future__ import annotations

from clew.audit.models import Book
from clew.chain import Trace
from clew.consent.current import standing_of_model
from clew.consent.standing import TAG
from clew.context import Context
from clew.errors import ClewError
from clew.lineage import NAMES
from clew.ports import ModelVersion
from clew.records.signed import manifest_of, model_facts
from clew.trace import trace


def audit_model(context: Context, version: ModelVersion) -> Trace:
    """Return the trace of a model with what the log, its manifest and consent say of it."""
    found = trace(context, version.uri)
    _log(context, found, version)
    _manifest(context, found, version)
    _consent(context, found, version)
    gate = version.tags.get("clew.gate")
    said = f"tag clew.gate of {version.uri}: {gate or 'none'}"
    found.check("the gates passed", None if gate is None else gate == "passed", said)
    return found


def _log(context: Context, found: Trace, version: ModelVersion) -> None:
    what = f"{version.uri} is in the log"
    try:
        context.log.fetch()
        entry = Book(context, {}).entry_of(version)
    except ClewError as error:
        found.check(what, None, error.what)
        return
    if entry is None:
        found.check(what, None, "no entry has its URI and run, nor its run and bytes")
        return
    node = f"log entry {entry.number}"
    facts = {"id": entry.id, "at": entry.at.isoformat()}
    found.add(node, "log entry", facts, f"git cat-file -p {entry.id}")
    found.link(version.uri, node, "first seen in")
    differing = [name for name in NAMES if entry.facts.get(name) != version.tags.get(name)]
    said = (
        f"they differ in {', '.join(differing)}" if differing else "the lineage is the same in both"
    )
    found.check("log and MLflow say the same of it", not differing, said)
    if (source := entry.facts.get("source")) is not None:
        said = f"{version.uri}: {version.source}, log: {source}"
        found.check(
            "its bytes are where they were when it was registered", source == version.source, said
        )


def _manifest(context: Context, found: Trace, version: ModelVersion) -> None:
    what = "the manifest is the one that was signed off"
    if context.pipeline.records is None:
        return
    try:
        facts = model_facts(context, version.tags)
        manifest = manifest_of(context, facts)
        count = sum(1 for _ in manifest.rows())
    except ClewError as error:
        found.check(what, None, error.what)
        return
    node = f"manifest {manifest.path}"
    signed = facts.get("manifest_sha256")
    shown = {"sha256": manifest.sha256, "md5": manifest.md5, "records": f"{count:,}"}
    found.add(node, "manifest", shown, "DVC cache or remote, by its md5")
    found.link(version.tags["data_git_commit_id"], node, "lists its records in")
    said = f"sha256 {manifest.sha256}" if signed else "the log has no sha256 of it"
    found.check(what, True if signed else None, said)


def _consent(context: Context, found: Trace, version: ModelVersion) -> None:
    standing = standing_of_model(context, version)
    if standing is None:
        return
    clean = None if standing.verdict == "unverifiable" else standing.verdict == "clean"
    found.check("all of its subjects agree", clean, str(standing))
    tag = version.tags.get(TAG)
    if tag is not None:
        said = f"the tag {TAG} says {tag}, and it is {standing.verdict}"
        found.check("its consent tag is current", tag == standing.verdict, said)

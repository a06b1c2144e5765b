"""Sign-off: what the log says of a data version, after its manifest was found sound."""

from __future__ import annotations

import hashlib

from clew.context import Context
from clew.log import DATA, MODEL, Draft
from clew.ports import ModelVersion
from clew.records.checks import refuse_unsound, schema_change
from clew.records.manifest import read_manifest
from clew.records.signed import LINEAGE, column_names
from clew.resolve import Resolution


def data_entry(context: Context, resolution: Resolution) -> Draft:
    """Return the log's entry of a data version; ConfigError where its manifest is not sound."""
    facts = {name: str(getattr(resolution, name)) for name in LINEAGE}
    draft = Draft(DATA, facts)
    known = {entry.key: entry.facts for entry in context.log.logged()}
    if draft.key in known:
        return Draft(DATA, known[draft.key])
    return Draft(DATA, facts | _manifest(context, resolution) | _consent(context, resolution))


def model_entry(version: ModelVersion, chain: dict[str, str]) -> Draft:
    """Return the log's entry of a registered model version."""
    seen = {
        "registered_at": f"{version.created:.3f}",  # seconds since 1970, by MLflow
        "source": version.source,
    }
    return Draft(MODEL, {"model": version.uri, "run_id": version.run_id, **seen, **chain})


def message(pipeline: str, entry: Draft) -> str:
    """Return what the annotated tag of a data version says."""
    names = {"Manifest-Sha256": "manifest_sha256", "Consent-Sha256": "consent_sha256"}
    rows = [f"{name}: {entry.facts[key]}" for name, key in names.items() if key in entry.facts]
    return "\n".join([f"Data version of {pipeline}", *([""] if rows else []), *rows])


def _manifest(context: Context, resolution: Resolution) -> dict[str, str]:
    if context.pipeline.records is None:
        return {}
    manifest = read_manifest(context.store, resolution.outputs, context.pipeline.records)
    counts = refuse_unsound(context, resolution.outputs, manifest)
    change = schema_change(context, manifest)
    if change:
        context.reporter.step("version", f"the manifest's columns changed: {change}")
    return {
        **({"schema_change": change} if change else {}),
        "manifest": manifest.path,
        "manifest_columns": column_names(context.pipeline.records),
        "manifest_md5": manifest.md5,
        "manifest_sha256": manifest.sha256,
        "records": str(counts.records),
        "subjects": str(counts.subjects),
    }


def _consent(context: Context, resolution: Resolution) -> dict[str, str]:
    consent = context.pipeline.consent
    if consent is None:
        return {}
    (content,) = context.read(resolution.data_git_commit_id, consent.registry)
    return {} if content is None else {"consent_sha256": hashlib.sha256(content).hexdigest()}

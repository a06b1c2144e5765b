"""What holds now: how the data of a run, or of a model, stands to consent."""

from __future__ import annotations

from clew.audit.models import known_model
from clew.config.model import Pipeline
from clew.consent.authority import (
    JUDGING,
    Authority,
    authority,
    differing,
    statements,
    statements_at,
)
from clew.consent.registry import Statements, merged
from clew.consent.standing import OVERRIDE, TAG, Standing, refuse_quarantined, standing
from clew.context import Context
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.identity import CommitSha
from clew.ports import ModelVersion
from clew.records.manifest import read_manifest
from clew.records.signed import manifest_of
from clew.resolve import Resolution


def standing_at(
    context: Context, resolution: Resolution, known: Authority | None = None
) -> Standing | None:
    """Return how the data of a run stands to consent, None where nobody keeps a registry.

    A commit without a registry is held against the authority's all the same.
    """
    try:
        held = _held(context, known)
        records = context.pipeline.records or (held.pipeline.records if held else None)
        if held is None or records is None:
            return None
        said = merged(statements(context, held), _own(context, resolution.commit))
        return standing(read_manifest(context.store, resolution.outputs, records), said)
    except ClewError as error:
        return Standing("unverifiable", reason=error.what)


def standing_of_model(context: Context, version: ModelVersion | None) -> Standing | None:
    """Return how a registered model stands to consent now, None where nobody keeps a registry.

    What it was trained on is what the log says; its tags can be edited.
    """
    try:
        held = _held(context)
        if held is None:
            return None
        if why := differing(context, held, JUDGING):
            raise Unverifiable(why, fix="Ask from the default branch.")
        if version is None:
            raise Unverifiable("MLflow does not know it")
        context.log.fetch()
        facts = known_model(context, version.uri).data
        return standing(manifest_of(context, facts), statements(context, held))
    except ClewError as error:
        return Standing("unverifiable", reason=error.what)


def hold_to_consent(
    context: Context, version: ModelVersion | None, override: str, *, dry_run: bool = False
) -> None:
    """Refuse a model with withdrawn data, or record on it why it is used all the same.

    Raises NotLive, or Unverifiable where it can't be told. A dry run records nothing.
    """
    name = version.uri if version else "the model"
    found = standing_of_model(context, version)
    if found is None:
        return
    if version and not dry_run:
        tags: dict[str, str] = {TAG: found.verdict}
        tags |= {OVERRIDE: override} if override and found.verdict != "clean" else {}
        context.tracker.tag_version(version, tags)
    if not override:
        refuse_quarantined(name, found)
    elif found.verdict != "clean":
        context.reporter.step("consent", f"overridden for {name} ({override}): {found}")


def registry_path(context: Context) -> str:
    """Return where the registry is; ConfigError where pipeline.yaml names none."""
    if context.pipeline.consent is None:
        raise ConfigError(
            "pipeline.yaml names no consent registry", fix="Add `consent: {registry: …}`."
        )
    return context.pipeline.consent.registry


def _held(context: Context, known: Authority | None = None) -> Authority | None:
    """Return the authority, None where nobody keeps a registry.

    A pipeline that keeps none goes on when the Git remote can't be asked whether it should.
    """
    try:
        held = known or authority(context)
    except ClewError:
        if _is_kept(context.pipeline):
            raise
        return None
    return held if _is_kept(context.pipeline) or _is_kept(held.pipeline) else None


def _is_kept(pipeline: Pipeline) -> bool:
    return pipeline.records is not None and pipeline.consent is not None


def _own(context: Context, commit: CommitSha) -> Statements:
    """Return what the registry of a commit itself says, nothing where it names none."""
    consent = context.pipeline.consent
    return statements_at(context, commit, consent.registry) if consent else {}

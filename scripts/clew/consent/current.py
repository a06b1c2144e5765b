"""What holds now: the registry of a commit, and that of the promotion branch or the database."""

from __future__ import annotations

from clew.consent.registry import Statements, merged, parse
from clew.consent.standing import OVERRIDE, TAG, Standing, refuse_quarantined, standing
from clew.context import Context
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.identity import CommitSha
from clew.ports import ModelVersion
from clew.records.manifest import read_manifest
from clew.records.signed import manifest_of, model_facts
from clew.resolve import Resolution


def statements_at(context: Context, commit: CommitSha) -> Statements:
    """Return the registry as a commit has it; ConfigError where it has none, or a broken one."""
    path = registry_path(context)
    (content,) = context.read(commit, path)
    if content is None:
        raise ConfigError(
            f"the commit {commit[:12]} has no consent registry {path}",
            fix="Commit it, or correct consent.registry in pipeline.yaml.",
        )
    return parse(content, path)


def authority(context: Context) -> Statements:
    """Return what holds whatever a branch says: the database, or else the promotion branch.

    Unverifiable when it can't be had.
    """
    if context.consent is not None:
        return context.consent.statements()
    return statements_at(context, authority_commit(context))


def authority_commit(context: Context) -> CommitSha:
    """Return the commit whose registry holds: the tip of the promotion branch in the remote."""
    repository = context.project.repository
    if repository.remote_url() is None:
        return repository.commit("HEAD")
    branch = context.pipeline.promotion.branch
    try:
        tip = repository.branches().get(branch)
    except ClewError as error:
        raise Unverifiable(f"the registry of the Git remote can't be read: {error.what}") from error
    if tip is None:
        raise Unverifiable(
            f"the Git remote has no branch {branch}, whose consent registry holds",
            fix="Push it, or correct promotion.branch in pipeline.yaml.",
        )
    return tip


def standing_at(context: Context, resolution: Resolution) -> Standing | None:
    """Return how the data of a run stands to consent, None where the pipeline keeps no registry."""
    records = context.pipeline.records
    if records is None or context.pipeline.consent is None:
        return None
    try:
        said = merged(authority(context), statements_at(context, resolution.commit))
        return standing(read_manifest(context.store, resolution.outputs, records), said)
    except ClewError as error:
        return Standing("unverifiable", reason=error.what)


def standing_of_model(
    context: Context, version: ModelVersion, said: Statements | None = None
) -> Standing | None:
    """Return how a registered model stands to consent now, None where there is no registry."""
    if context.pipeline.records is None or context.pipeline.consent is None:
        return None
    try:
        held = authority(context) if said is None else said
        return standing(manifest_of(context, model_facts(context, version.tags)), held)
    except ClewError as error:
        return Standing("unverifiable", reason=error.what)


def hold_to_consent(
    context: Context, version: ModelVersion | None, override: str, *, dry_run: bool = False
) -> None:
    """Refuse a model with withdrawn data, or record on it why it is used all the same.

    Raises NotLive, or Unverifiable where it can't be told. A dry run records nothing.
    """
    if context.pipeline.records is None or context.pipeline.consent is None:
        return
    found, name = Standing("unverifiable", reason="MLflow does not know it"), "the model"
    if version is not None:
        found, name = standing_of_model(context, version) or found, version.uri
        tags: dict[str, str] = {TAG: found.verdict}
        tags |= {OVERRIDE: override} if override and found.verdict != "clean" else {}
        if not dry_run:
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

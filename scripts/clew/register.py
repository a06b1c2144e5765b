"""register: the model version with its lineage, and its aliases when the gates allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clew import lineage
from clew.consent.current import standing_at
from clew.consent.standing import TAG, Standing
from clew.context import Context
from clew.edges import record_edges
from clew.evaluate import Evaluation
from clew.identity import CommitSha, code_tag
from clew.packages import ARN, ensure_package
from clew.ports import ModelVersion
from clew.records.sign_off import model_entry
from clew.request import RunRequest
from clew.resolve import Resolution
from clew.train import Trained


@dataclass(frozen=True)
class Registered:
    version: ModelVersion  # as it is now, with the aliases that it carries
    created: bool
    held_back: str  # why it was not promoted; empty when it was
    stays: tuple[str, ...] = ()  # aliases that were left where they are, and why
    consent: Standing | None = None  # None: the pipeline keeps no registry

    @property
    def withdrawn(self) -> bool:
        """Whether consent alone stands against the model."""
        return self.consent is not None and self.consent.verdict != "clean"

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "uri": self.version.uri,
            "created": self.created,
            "aliases": list(self.version.aliases),
            "model_package": self.version.tags.get(ARN),
            "held_back": self.held_back,
            "consent": self.consent.as_json() if self.consent else None,
            "stays": list(self.stays),
        }


def register(
    context: Context,
    request: RunRequest,
    resolution: Resolution,
    trained: Trained,
    evaluation: Evaluation,
) -> Registered:
    """Return the one model version of this run fingerprint, promoted if gates and rules allow."""
    tracker = context.tracker
    found = tracker.version_of(resolution.run_fingerprint)
    created = found is None
    recorded = found.tags.get("code_git_commit_id") if found else None
    commit = CommitSha(recorded or resolution.commit)
    consent = standing_at(context, resolution)
    withdrawn = str(consent) if consent and consent.verdict != "clean" else ""
    unpublished = unfit_for_promotion(context, request, commit)
    unfit = "; ".join(filter(None, (unpublished, withdrawn)))
    verdict = {"clew.gate": evaluation.verdict, "clew.unfit": unfit}
    verdict |= {TAG: consent.verdict} if consent else {}
    if found is None:
        found = tracker.create_version(trained.run_id, lineage.chain(resolution) | verdict)
        context.reporter.step("register", f"model version {found.uri}")
    tracker.tag_version(found, verdict)
    context.log.append([model_entry(found, lineage.chain(resolution))], publish=not unpublished)
    if not unpublished and commit != resolution.data_git_commit_id:
        _keep(context, commit)
    record_edges(context, trained.run_id)
    found = ensure_package(context, found, evaluation, unfit)
    refused = "" if evaluation.passed else "a gate refused it"
    held_back = "; ".join(filter(None, (refused, unfit)))
    stays = () if held_back else tuple(_promote(context, request, resolution, found))
    now = tracker.version(found.name, str(found.version)) or found
    return Registered(now, created, held_back, stays, consent)


def _keep(context: Context, commit: CommitSha) -> None:
    """Tag the commit that a model was trained from: a squash merge leaves it to no branch."""
    repository, tag = context.project.repository, code_tag(context.pipeline.name, commit)
    if repository.tag_commit(tag) == commit or repository.fetch_tag(tag) == commit:
        return
    repository.create_tag(tag, commit, f"Code of a model of {context.pipeline.name}")
    repository.push_tag(tag)


def unfit_for_promotion(context: Context, request: RunRequest, commit: CommitSha) -> str:
    """Return why no gate can promote the model of a commit, empty when nothing stands against."""
    if request.dirty:
        return "it was trained from an uncommitted tree"
    if not context.project.repository.on_remote(commit):
        return f"no Git remote has the commit {commit[:12]} it was trained from: push it, run again"
    return ""


def _promote(
    context: Context, request: RunRequest, resolution: Resolution, version: ModelVersion
) -> Iterator[str]:
    """Move the aliases that this run may move; yield what stays where it is, and why."""
    promotion = context.pipeline.promotion
    for alias in (promotion.candidate, promotion.baseline):
        if alias in version.aliases:
            continue
        reason = ""
        if alias == promotion.baseline:
            reason = _not_baseline(request, promotion.branch)
        reason = reason or _newer(context, resolution, alias, version)
        if reason:
            yield f"{alias} stays: {reason}"
        else:
            context.reporter.step("register", f"alias {alias} → {version.uri}")
            context.tracker.set_alias(alias, version)


def _not_baseline(request: RunRequest, branch: str) -> str:
    if request.branch != branch:
        return f"only a run on {branch} moves it (promotion.branch)"
    if request.params:
        return "no commit has the params of this run (--param)"
    return ""


def _newer(context: Context, resolution: Resolution, alias: str, version: ModelVersion) -> str:
    """Return why running an older commit again must not move an alias back."""
    current = context.tracker.version(version.name, alias)
    commit = current.tags.get("code_git_commit_id") if current else None
    if current is None or commit is None or commit == resolution.commit:
        return ""
    older = context.project.repository.is_ancestor(resolution.commit, CommitSha(commit))
    if older is None:
        return f"it can't be told whether {current.uri} is newer: its commit {commit[:12]} is gone"
    return f"{current.uri} is of a newer commit, {commit[:12]}" if older else ""
